"""Small desks for tests: a ledger, a playbook text, a clock that stands still, and fakes for the ports around them."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.system_clock import FixedClock
from opportune.domain.states import StateRow
from opportune.flows.desk import Desk
from opportune.flows.scoring import Scorer
from opportune.playbook.load import Playbook, load
from opportune.ports import Clock, FeatureStore, Ledger, ModelFiles, Unavailable

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday


class FakeFeatureStore:
    """Feast's online store in a dict. `is_down` makes it unreachable; `lags` makes it ignore projections."""

    def __init__(self) -> None:
        self.rows: dict[str, StateRow] = {}
        self.is_down = False
        self.n_reads = 0

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        self.n_reads += 1
        if self.is_down:
            raise Unavailable("the fake store is down: start it")
        return {c: self.rows[c] for c in customer_ids if c in self.rows}

    def project(self, rows: Sequence[StateRow]) -> None:
        if self.is_down:
            raise Unavailable("the fake store is down: start it")
        for row in rows:
            kept = self.rows.get(row.customer_id)
            if kept is None or kept.committed_at < row.committed_at:
                self.rows[row.customer_id] = row

    def remove(self, customer_ids: Sequence[str]) -> None:
        for customer_id in customer_ids:
            self.rows.pop(customer_id, None)


class EmptyShelf:
    """No model was ever trained."""

    def stamp(self, name: str) -> str | None:
        return None

    def load(self, name: str) -> ModelFiles:
        raise FileNotFoundError(name)


def playbook_of(folder: Path, text: str) -> Playbook:
    """A playbook from one YAML text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "playbook.yaml").write_text(text)
    return load(folder)


def desk_of(
    playbook: Playbook,
    ledger: Ledger | None = None,
    clock: Clock | None = None,
    features: FeatureStore | None = None,
    scorer: Scorer | None = None,
) -> Desk:
    """A desk with fakes for what is not given. Decision ids count up."""
    numbers = itertools.count(1)
    desk = Desk(
        ledger=ledger or MemoryLedger(),
        features=features or FakeFeatureStore(),
        scorer=scorer or Scorer(EmptyShelf(), ()),
        playbook=playbook,
        clock=clock or FixedClock(NOON),
        secret=b"test secret",
        code_version="test",
        new_id=lambda: f"d-{next(numbers)}",
    )
    with desk.ledger.begin() as uow:
        uow.playbooks.put(playbook.hash, playbook.source, desk.clock.now())
    return desk
