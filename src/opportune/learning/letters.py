"""Letters for the send-time model: when each went out, whether it was opened in time, whether chance set its hour."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.identity import customer_id_of, resolve
from opportune.domain.instants import from_us, to_us
from opportune.features.catalog import LETTER_OPENED, LETTER_SENT
from opportune.features.measures import extract

#: What a `Message Sent` event says of the probability with which its hour was drawn.
HOUR_PROBABILITY = "slot_probability"
_SENT, _OPENED = frozenset(LETTER_SENT), frozenset(LETTER_OPENED)


class Letter(NamedTuple):
    """One letter. `p_hour`: probability with which chance chose its hour, NaN when it was not left to chance."""

    customer_id: str
    sent_at: datetime
    is_opened: bool
    p_hour: float


@dataclass(slots=True)
class LetterTally:
    """Collects letters as events stream by, in any order. `random_hours`: campaign -> hours drawn from evenly.

    Events after `as_of`, or known only later, do not exist. What is kept grows with the number of letters.
    """

    as_of: datetime
    random_hours: Mapping[str, int]
    first_at: datetime | None = None
    _sent: dict[str, tuple[int, str]] = field(default_factory=dict)  # letter -> first sending in us, id key
    _p_hour: dict[str, float] = field(default_factory=dict)
    _opened: dict[str, int] = field(default_factory=dict)  # letter -> first opening in us

    def add(self, event: Event) -> None:
        """Take note of one event."""
        if event.event_at > self.as_of or event.known_at > self.as_of:
            return
        self.first_at = event.event_at if self.first_at is None else min(self.first_at, event.event_at)
        if event.name not in _SENT and event.name not in _OPENED:
            return
        measured = extract(event)
        letter, us = measured.letter, to_us(event.event_at)
        if letter is None or measured.is_machine:
            return
        if event.name in _OPENED:
            self._opened[letter] = min(us, self._opened.get(letter, us))
            return
        self._sent[letter] = min((us, event.id_key), self._sent.get(letter, (us, event.id_key)))
        logged = event.properties.get(HOUR_PROBABILITY)
        if isinstance(logged, int | float) and not isinstance(logged, bool) and 0 < logged < 1:
            self._p_hour[letter] = float(logged)
        elif letter not in self._p_hour and (n_hours := self.random_hours.get(measured.campaign or "")):
            self._p_hour[letter] = 1 / n_hours

    def letters(self, claims: Iterable[Claim], answer_within: timedelta) -> list[Letter]:
        """Letters old enough to have been answered, under who their readers are as known at `as_of`; by (sent, id)."""
        known = [c for c in claims if c.event_at <= self.as_of and c.known_at <= self.as_of]
        roots = resolve(known)
        latest, patience = to_us(self.as_of - answer_within), answer_within // timedelta(microseconds=1)
        found = []
        for letter, (us, key) in self._sent.items():
            if us > latest:
                continue
            opened = self._opened.get(letter)
            is_opened = opened is not None and opened <= us + patience
            customer_id = customer_id_of(roots.get(key, key))
            found.append(Letter(customer_id, from_us(us), is_opened, self._p_hour.get(letter, float("nan"))))
        return sorted(found, key=lambda it: (it.sent_at, it.customer_id))
