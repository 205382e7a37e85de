"""What a journey sees when it looks: the moment, what happened, what became of its messages. All of it is given."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from opportune.domain.messages import OutcomeKind, SendState
from opportune.playbook.triggers import On

#: Outcomes by which a customer takes notice. A click is notice, too.
OPENED = frozenset({OutcomeKind.OPENED, OutcomeKind.SHOWN, OutcomeKind.CLICKED, OutcomeKind.CONVERTED})
CLICKED = frozenset({OutcomeKind.CLICKED, OutcomeKind.CONVERTED})


@dataclass(frozen=True, slots=True)
class Spoken:
    """What became of one message. `send_at`: when it goes or went. Opens by machines do not count as opened."""

    state: SendState
    send_at: datetime
    is_opened: bool = False
    is_clicked: bool = False

    def is_coming(self, now: datetime) -> bool:
        """It waits for its hour."""
        return self.state is SendState.RESERVED and self.send_at > now


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One moment of one customer.

    `first(on, since, before, without)`: instant and id of the earliest event like `on`, of this instance's key, with
    since <= event_at < before (null: no bound), not among the ids `without`; null when there is none.
    `holds(condition, journey)`: over everything known now; `journey`: how it went so far.
    `draw(salt)`: the customer's number in [0, 1) for a split, the same for ever.
    `opted_out_at`: when they first opted out of something it speaks on, since it started.
    `takes_part`: false for those kept out of every experiment: they go the first way of a split.
    """

    now: datetime
    zone: tzinfo
    first: Callable[[On, datetime, datetime | None, Collection[str]], tuple[datetime, str] | None]
    holds: Callable[[str, Mapping[str, Any]], bool]
    draw: Callable[[str], float]
    spoken: Mapping[str, Spoken]
    opted_out_at: datetime | None = None
    is_stopped: bool = False
    takes_part: bool = True
