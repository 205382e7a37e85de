"""Events: what customers did, as stored envelopes with all their times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    """The six stored Segment calls (`batch` is only an envelope)."""

    TRACK = "track"
    IDENTIFY = "identify"
    PAGE = "page"
    SCREEN = "screen"
    GROUP = "group"
    ALIAS = "alias"


class Origin(StrEnum):
    """Where an envelope came from. Only `live` events fire triggers."""

    LIVE = "live"
    IMPORT = "import"
    OWN = "own"  # written by Opportune itself: sends and outcomes join the customer's log


#: The `name` of calls that carry no event name of their own.
NAMES_BY_KIND = {
    EventKind.IDENTIFY: "Identified",
    EventKind.PAGE: "Page Viewed",
    EventKind.SCREEN: "Screen Viewed",
    EventKind.GROUP: "Grouped",
    EventKind.ALIAS: "Aliased",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One envelope. Immutable once stored; equal `message_id` means the same event.

    `event_at` = min(corrected time, `received_at`) orders the log (ties by `message_id`).
    `known_at` says from when the event counts as known: live `received_at`, import its own time.
    `ingested_at` is when it really came. `original_at`, `sent_at`: as the client said, null when it did not.
    """

    message_id: str
    kind: EventKind
    name: str
    user_id: str | None
    anonymous_id: str | None
    original_at: datetime | None
    sent_at: datetime | None
    received_at: datetime
    event_at: datetime
    known_at: datetime
    ingested_at: datetime
    origin: Origin
    properties: Mapping[str, Any] = field(default_factory=dict)
    traits: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    #: alias: the id merged into this one; group: the group id. Null otherwise.
    previous_id: str | None = None
    group_id: str | None = None
    #: what was odd but accepted, for example `future` (more than 5 minutes ahead of us).
    flags: tuple[str, ...] = ()

    @property
    def id_key(self) -> str:
        """The identity that owns the event: `u:` + userId, else `a:` + anonymousId."""
        return f"u:{self.user_id}" if self.user_id is not None else f"a:{self.anonymous_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A refused envelope: kept, with why and what to do. `body` is the item as it came, at most 32 KB of it."""

    letter_id: str
    received_at: datetime
    source: str  # http, file name, ...
    index: int | None  # position in its batch
    message_id: str | None
    code: str  # closed list in api/wire or flows/ingest: stable, machine readable
    message: str  # names the field and what to do
    body: bytes
