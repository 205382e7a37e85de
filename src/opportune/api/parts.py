"""What the HTTP door is given: one frozen bundle of parts, and the flows it calls, as plain functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from opportune.domain.customers import Consent
from opportune.domain.decisions import Ask
from opportune.domain.events import DeadLetter, Event
from opportune.domain.items import ItemUpdate
from opportune.domain.links import Link
from opportune.domain.messages import Send
from opportune.domain.suppressions import Named
from opportune.flows.consent import put as put_consent
from opportune.flows.decide import Answer, decide
from opportune.flows.deliver import report_status
from opportune.flows.desk import Desk
from opportune.flows.experiments import experiments
from opportune.flows.explain import Assumed, explain_moment
from opportune.flows.ingest import ingest
from opportune.flows.lookup import score, stored
from opportune.flows.preferences import Preferences, choose, preferences, unsubscribe
from opportune.flows.profile import profile
from opportune.flows.replay import Passage
from opportune.flows.suppress import SuppressReport, suppress
from opportune.flows.update_items import Updated, item_at, put_items
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger
from opportune.settings import Settings


class Scoring(Protocol):
    """flows.lookup.score."""

    def __call__(
        self, customer_ids: Sequence[str], models: Sequence[str] | None, at: datetime | None, desk: Desk, explain: bool
    ) -> list[dict[str, Any]]: ...


class Stored(Protocol):
    """flows.lookup.stored."""

    def __call__(
        self, decision_id: str, ledger: Ledger, explain: bool = False, *, secret: bytes | None = None
    ) -> dict[str, Any] | None: ...


class Consenting(Protocol):
    """flows.consent.put."""

    def __call__(
        self,
        *,
        customer_id: str,
        channel: str,
        topic: str,
        state: str,
        source: str,
        at: datetime | None,
        ledger: Ledger,
        clock: Clock,
        proof: Mapping[str, Any] | None = None,
    ) -> Consent: ...


class Explaining(Protocol):
    """flows.explain.explain_moment."""

    def __call__(
        self,
        customer_id: str,
        campaign: str,
        at: datetime,
        desk: Desk,
        *,
        channel: str | None,
        context: Mapping[str, Any] | None,
        assumed: Assumed | None,
    ) -> dict[str, Any]: ...


class Choosing(Protocol):
    """flows.preferences.choose."""

    def __call__(
        self,
        link: Link,
        changes: Mapping[tuple[str, str], bool],
        profiling: bool | None,
        is_all_out: bool,
        playbook: Playbook,
        ledger: Ledger,
        clock: Clock,
    ) -> Preferences: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """The stories behind the door. Replaced by fakes in tests of the door alone."""

    decide: Callable[[Sequence[Ask], Desk], Sequence[Answer]] = decide
    score: Scoring = score
    stored: Stored = stored
    profile: Callable[[str, Desk], dict[str, Any] | None] = profile
    ingest: Callable[[Sequence[Event], Sequence[DeadLetter], Ledger, Playbook, Clock], object] = ingest
    report_status: Callable[[str, str, datetime | None, str | None, Ledger, Clock], Send] = report_status
    consent: Consenting = put_consent
    explain: Explaining = explain_moment
    unsubscribe: Callable[[Link, str, Playbook, Ledger, Clock], bool] = unsubscribe
    preferences: Callable[[Link, Playbook, Ledger], Preferences] = preferences
    choose: Choosing = choose
    suppress: Callable[[Iterable[Named], Ledger, Clock], SuppressReport] = suppress
    experiments: Callable[[Ledger, Playbook, Clock], list[dict[str, Any]]] = experiments
    put_items: Callable[[Sequence[ItemUpdate], Ledger, Clock], Updated] = put_items
    item: Callable[[str, Ledger], dict[str, Any] | None] = item_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything one serving process needs.

    `warm` is called once before the door opens (load models, open connections). `freeze`: put what exists after
    warm-up out of the garbage collector's sight, which avoids pauses of about 200 ms; off in tests.
    """

    settings: Settings
    desk: Desk
    flows: Flows = field(default_factory=Flows)
    warm: Callable[[], None] | None = None
    #: Make time pass up to an instant; null on the wall's clock. Raises ValueError (backwards), Unavailable.
    advance: Callable[[datetime], Passage] | None = None
    freeze: bool = True

    @property
    def is_live(self) -> bool:
        """Time is the wall's: absence triggers wait for signs of life."""
        return self.desk.is_watching

    @property
    def ledger(self) -> Ledger:
        """The decision log and all it stands on."""
        return self.desk.ledger

    @property
    def playbook(self) -> Playbook:
        """The active playbook."""
        return self.desk.playbook

    @property
    def clock(self) -> Clock:
        """Now."""
        return self.desk.clock
