"""Which features a decision can read, so that no others are finished, stored and carried along."""

import re
from datetime import datetime
from zlib import crc32

from opportune.domain.instants import HOUR_US, to_us
from opportune.features.catalog import NAMES
from opportune.flows.desk import Desk
from opportune.playbook.load import Playbook

#: Says whether anything was ever done; a customer of whom it is null has no scores.
ALWAYS = ("last_active_age_days",)
_WORD = re.compile(rb"[a-z][a-z0-9_]*")
WHOLE_EVERY = 16
_MOST = 64
_NAMED: dict[str, frozenset[str]] = {}
_READ: dict[tuple[str, tuple[tuple[str, ...], ...]], tuple[str, ...]] = {}


def features_read(desk: Desk) -> tuple[str, ...]:
    """In the order of the catalogue: what the models in use read, and every feature whose name stands anywhere in the
    playbook (conditions, templates, variations, caps). Worked out once per playbook and models."""
    key = desk.playbook.hash, tuple(model.names for model in desk.scorer.models.values())
    found = _READ.get(key)
    if found is None:
        if len(_READ) >= _MOST:
            _READ.clear()
        wanted = {*ALWAYS, *named_in(desk.playbook), *(name for names in key[1] for name in names)}
        found = _READ[key] = tuple(name for name in NAMES if name in wanted)
    return found


def is_whole(customer_id: str, now: datetime) -> bool:
    """Whether this customer is served every feature in this hour: one in 16, so that the consistency check sees all."""
    return crc32(f"{customer_id}|{to_us(now) // HOUR_US}".encode()) % WHOLE_EVERY == 0


def named_in(playbook: Playbook) -> frozenset[str]:
    """Features whose name stands in the playbook as a word of its own."""
    found = _NAMED.get(playbook.hash)
    if found is None:
        if len(_NAMED) >= _MOST:
            _NAMED.clear()
        words = {word.decode() for word in _WORD.findall(playbook.source)}
        found = _NAMED[playbook.hash] = frozenset(words & set(NAMES))
    return found
