"""Fakes for training: a ledger that only reads, features by the plain definition, a run log in memory."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from opportune.domain.customers import Claim, Consent, Customer
from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.identity import customer_id_of
from opportune.features import state
from opportune.learning import manifest as manifests
from opportune.playbook.schema import Goal, PlaybookSpec


def event(
    customer: str, name: str, at: datetime, n: int = 0, known_at: datetime | None = None, **properties: Any
) -> Event:
    """A track event of customer `customer` (an anonymous one when it starts with `anon:`)."""
    anonymous = customer.removeprefix("anon:") if customer.startswith("anon:") else None
    return Event(
        message_id=f"{customer}:{name}:{at.isoformat()}:{n}",
        kind=EventKind.TRACK,
        name=name,
        user_id=None if anonymous else customer,
        anonymous_id=anonymous,
        original_at=None,
        sent_at=None,
        received_at=known_at or at,
        event_at=at,
        known_at=known_at or at,
        ingested_at=known_at or at,
        origin=Origin.IMPORT,
        properties=properties,
    )


class ReadingLedger:
    """A ledger with events, claims, customers and consents, read only."""

    def __init__(self, events: Sequence[Event], claims: Sequence[Claim] = ()) -> None:
        self.events, self.claims = list(events), list(claims)
        self.customers: dict[str, Customer] = {}
        self.consents: dict[str, list[Consent]] = {}
        self.archived = ""

    @contextmanager
    def read(self) -> Iterator[Any]:
        yield SimpleNamespace(
            events=SimpleNamespace(after=self._after),
            identities=SimpleNamespace(all_claims=lambda: self.claims),
            cursors=SimpleNamespace(get=lambda name: self.archived or None),
            customers=SimpleNamespace(get=lambda ids: {i: self.customers[i] for i in ids if i in self.customers}),
            consents=SimpleNamespace(of=lambda ids: {i: self.consents[i] for i in ids if i in self.consents}),
        )

    def begin(self, customer_ids: Collection[str] = ()) -> Any:
        raise AssertionError("training never writes to the ledger")

    def close(self) -> None: ...

    def _after(self, cursor: str, limit: int) -> tuple[list[tuple[Event, str]], str]:
        start = int(cursor or 0)
        page = self.events[start : start + limit]
        return [(e, customer_id_of(e.id_key)) for e in page], str(start + len(page))


class PlainOffline:
    """Features by folding each customer's events: the definition itself, slow and plain. No identity links."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events: dict[str, list[Event]] = {}
        for e in events:
            self._events.setdefault(customer_id_of(e.id_key), []).append(e)

    def as_of(
        self,
        rows: Any,
        tail: Sequence[tuple[Event, str]],
        claims: Sequence[Claim],
        names: Sequence[str] | None = None,
    ) -> Any:
        import pandas as pd

        values = []
        for customer_id, at in zip(rows["customer_id"], rows["at"], strict=True):
            now = at.to_pydatetime()
            seen = [e for e in self._events.get(customer_id, []) if e.event_at <= now and e.known_at <= now]
            values.append(state.finalise(state.rebuild(seen), now, names))
        return pd.concat([rows, pd.DataFrame(values, index=rows.index)], axis=1)

    training_set = as_of


@dataclass
class MemoryRunLog:
    """Runs, versions and champions in memory."""

    runs: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    files: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    champions: dict[str, str] = field(default_factory=dict)
    batches: dict[str, bytes] = field(default_factory=dict)

    def log_training(self, name: str, run: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
        version = str(1 + sum(n == name for n, _ in self.files))
        manifest = manifests.parse(files[manifests.MANIFEST]) | {"version": version}
        self.files[name, version] = {**files, manifests.MANIFEST: manifests.dump(manifest)}
        self.runs.append((name, run))
        return version

    def champion(self, name: str) -> str | None:
        return self.champions.get(name)

    def promote(self, name: str, version: str) -> None:
        self.champions[name] = version

    def versions(self, name: str) -> list[Mapping[str, Any]]:
        return [{"version": v, "is_champion": self.champions.get(name) == v} for n, v in self.files if n == name]

    def fetch(self, name: str, version: str) -> dict[str, bytes]:
        return dict(self.files[name, version])

    def log_decisions(self, experiment: str, batch_id: str, parquet: bytes, metrics: Mapping[str, float]) -> None:
        self.batches.setdefault(batch_id, parquet)


@dataclass
class FixedClock:
    """Always the same instant."""

    at: datetime = datetime(2026, 6, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


def playbook(
    goal: Goal | None = None,
    activity: tuple[str, ...] = (),
    holds: Callable[[str | None, Mapping[str, Any]], bool] = lambda text, env: True,
) -> Any:
    """A playbook with the goal `order`; `holds` stands in for its conditions."""
    spec = PlaybookSpec(goals={"order": goal or Goal(event="Order Completed")}, activity=activity)
    return SimpleNamespace(spec=spec, holds=holds)
