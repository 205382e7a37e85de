"""The sockets beside the ledger: clock, features, archive, models, runs, couriers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.messages import Send
from opportune.domain.states import StateRow


class Clock(Protocol):
    """Now, as an argument."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...


class MovableClock(Clock, Protocol):
    """A clock that stands still until it is moved, forward: replay."""

    def start(self, at: datetime) -> bool:
        """Set a clock that was never set to any instant; false, and nothing done, when it was set before."""
        ...

    def advance(self, to: datetime) -> datetime:
        """Move to `to`; returns the instant now in force. Raises ValueError when `to` is earlier than now."""
        ...


class FeatureStore(Protocol):
    """Feast's online store, as packed state rows. Raises Unavailable when it cannot be reached."""

    def read(self, customer_ids: Sequence[str]) -> dict[str, StateRow]:
        """Rows present with a version; absent or empty ones are left out."""
        ...

    def project(self, rows: Sequence[StateRow]) -> None:
        """Write rows; an older `committed_at` never replaces a newer one."""
        ...

    def remove(self, customer_ids: Sequence[str]) -> None: ...


class Archive(Protocol):
    """Parquet events, bucketed by hash of the canonical customer id."""

    def append(self, events: Sequence[tuple[Event, str]], cursor: str) -> None:
        """Idempotent per cursor: appending the same cursor again changes nothing."""
        ...

    def compact(self, cursor: str, now: datetime, min_files: int = 2) -> Mapping[str, int]:
        """Merge small files, but not those of an append of `cursor`, which may be unfinished.

        Returns n_before, n_after (files) and n_events. Readers see every event, none twice, all the while.
        """
        ...

    def events_of(self, id_keys: Collection[str], customer_ids: Collection[str]) -> list[Event]:
        """Every archived event of these keys, each once. `customer_ids`: who may have owned them when archived."""
        ...


class OfflineFeatures(Protocol):
    """Point-in-time features. Frames are pandas; `customer_id` str and `at` aware UTC identify a row."""

    def as_of(
        self,
        rows: Any,
        tail: Sequence[tuple[Event, str]],
        claims: Sequence[Claim],
        names: Sequence[str] | None = None,
    ) -> Any:
        """The rows plus one column per catalogue feature, same order, from archive plus ledger tail, by our own SQL.

        `names` null: every feature; else these, which is cheaper. Raises KeyError for a name the catalogue lacks.
        """
        ...

    def training_set(
        self,
        rows: Any,
        tail: Sequence[tuple[Event, str]],
        claims: Sequence[Claim],
        names: Sequence[str] | None = None,
    ) -> Any:
        """As `as_of`, but written to the Feast offline source and looked up through get_historical_features.

        Raises RuntimeError when a row is lost on the way.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A verified copy of one champion on disk. `manifest` is models/manifest JSON; `text` LightGBM's own format."""

    name: str
    version: str
    manifest: Mapping[str, Any]
    text: str


class ModelShelf(Protocol):
    """Champions on local disk. Reading checks the hash and never runs code from an artifact."""

    def stamp(self, name: str) -> str | None:
        """A cheap token that changes when the champion on disk changes; null when there is none."""
        ...

    def load(self, name: str) -> ModelFiles:
        """Raises ValueError (bad hash, bad manifest, crash in the child-process probe), FileNotFoundError (none)."""
        ...


class ModelStock(ModelShelf, Protocol):
    """The shelf as the worker sees it, who fills it."""

    def champion(self, name: str) -> str | None:
        """Version of the champion on disk; null when there is none."""
        ...

    def put(self, name: str, version: str, files: Mapping[str, bytes]) -> None:
        """Verify, store, and make it the champion, in that order. Raises ValueError; the champion then stays."""
        ...


class RunLog(Protocol):
    """MLflow: training runs, registry, decision artifacts. Used by worker and jobs only."""

    def log_training(self, name: str, run: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
        """Log params/metrics/tags/artifacts and register a version; returns the version."""
        ...

    def champion(self, name: str) -> str | None:
        """Version under the alias `champion`; null when none."""
        ...

    def promote(self, name: str, version: str) -> None: ...
    def versions(self, name: str) -> list[Mapping[str, Any]]: ...
    def fetch(self, name: str, version: str) -> dict[str, bytes]:
        """The model's files (manifest.json, model.txt, CARD.md ...)."""
        ...

    def log_decisions(self, experiment: str, batch_id: str, parquet: bytes, metrics: Mapping[str, float]) -> None:
        """One Parquet artifact per batch; the same batch_id again changes nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationRun:
    """One variation of an experiment as data scientists meet it. Notes are Markdown; tags may change, params do not.

    `started_at`: of the experiment; `ended_at` null: it still counts.
    """

    experiment: str
    variation: str
    experiment_note: str
    note: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a metric at a step (day number, 1 is the first day). `at`: the instant it stands for."""

    metric: str
    step: int
    value: float
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One stage of a decision. Nanoseconds since 1970; attributes are plain JSON values."""

    name: str
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRecord:
    """One decision to look into. `variation` null: exposed to nothing. No customer id, no content."""

    decision_id: str
    variation: str | None
    at: datetime
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    tags: Mapping[str, str]
    spans: Sequence[SpanRecord]
    is_error: bool


class ExperimentLog(Protocol):
    """MLflow as the data scientist's desk: `ab/<experiment>`. Doing anything twice changes nothing.

    Raises Unavailable when it cannot be reached.
    """

    def log_variation(self, run: VariationRun, points: Sequence[Point]) -> int:
        """Make or update the run of a variation; points that are there already with this value are left alone.

        Returns how many points were written.
        """
        ...

    def log_variation_decisions(self, experiment: str, variation: str, batch_id: str, parquet: bytes) -> None:
        """One Parquet artifact per batch in the run of a variation."""
        ...

    def log_traces(self, experiment: str | None, traces: Sequence[TraceRecord]) -> int:
        """Traces of an experiment (null: of decisions exposed to none); returns how many were new."""
        ...


class Courier(Protocol):
    """Hands messages over. Raises Unavailable to be tried again."""

    def deliver(self, sends: Sequence[Send], at: datetime) -> None: ...
