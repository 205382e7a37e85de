"""The one place that chooses concrete parts and plugs them together. Parts are made on first use, imports are late."""

import os
import secrets
import socket
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from opportune import __version__
from opportune.domain.events import DeadLetter, Event
from opportune.flows.desk import Desk
from opportune.flows.scoring import Scorer
from opportune.playbook.load import Playbook, load
from opportune.ports import (
    Archive,
    Clock,
    Courier,
    ExperimentLog,
    FeatureStore,
    Ledger,
    ModelStock,
    MovableClock,
    OfflineFeatures,
    RunLog,
)
from opportune.settings import Settings

if TYPE_CHECKING:
    from opportune.adapters.feast_features import FeastFeatures

#: The models a decision reads. Their specifications are the folders of `models/`.
MODEL_NAMES = ("purchase", "churn", "send_time")
_SECRET = "installation_secret"


class Installation:
    """One Opportune on one home folder and one database. `is_simulation`: a home to throw away, its ledger does not
    wait for the disk, and no online store is kept beside it (decisions read the ledger's state)."""

    def __init__(
        self, settings: Settings | None = None, clock: Clock | None = None, *, is_simulation: bool = False
    ) -> None:
        self.settings = settings or Settings()
        self._clock = clock
        self.is_simulation = is_simulation

    @cached_property
    def home(self) -> Path:
        """The folder of embedded state, made when missing, readable by its owner only."""
        home = self.settings.home.absolute()
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return home

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, migrated."""
        from opportune.adapters.sql_ledger import SqlLedger

        self.home  # noqa: B018 - the default database lives in it
        return SqlLedger(self.settings.ledger_url, is_durable=not self.is_simulation)

    @cached_property
    def clock(self) -> Clock:
        """The wall, or the replay clock in the ledger."""
        from opportune.adapters.system_clock import ReplayClock, WallClock

        if self._clock is not None:
            return self._clock
        return ReplayClock(self.ledger) if self.settings.clock == "replay" else WallClock()

    @cached_property
    def replay_clock(self) -> MovableClock:
        """The clock of replay mode. Raises ValueError when the installation runs on another."""
        from opportune.adapters.system_clock import FixedClock, ReplayClock

        if isinstance(self.clock, ReplayClock | FixedClock):
            return self.clock
        raise ValueError("time is the wall's here: set OPPORTUNE_CLOCK=replay to move it")

    @cached_property
    def wall(self) -> Clock:
        """Real time, whatever the clock: for leases between processes."""
        from opportune.adapters.system_clock import WallClock

        return WallClock()

    @cached_property
    def playbook(self) -> Playbook:
        """The active playbook, its text kept in the ledger by hash. Raises PlaybookInvalid."""
        playbook = load(self.settings.playbook)
        with self.ledger.begin() as uow:
            uow.playbooks.put(playbook.hash, playbook.source, self.clock.now())
        return playbook

    @cached_property
    def secret(self) -> bytes:
        """The installation's own secret, made once, the same for every process on the ledger."""
        with self.ledger.begin() as uow:
            kept = uow.cursors.get(_SECRET)
            if kept is None:
                kept = secrets.token_hex(32)
                uow.cursors.put(_SECRET, kept)
        return bytes.fromhex(kept)

    @cached_property
    def feast(self) -> "FeastFeatures":
        """Feast: online store, registry, feature services."""
        from opportune.adapters.feast_features import FeastFeatures

        s = self.settings
        return FeastFeatures(self.home, s.redis_url, database_url=s.database_url, online=s.online_store)

    @cached_property
    def features(self) -> FeatureStore:
        """Feast's online store; in a simulation an empty one in memory."""
        if self.is_simulation:
            from opportune.adapters.memory_features import MemoryFeatures

            return MemoryFeatures()
        return self.feast

    @cached_property
    def shelf(self) -> ModelStock:
        """Verified champions on disk."""
        from opportune.adapters.disk_shelf import DiskShelf

        return DiskShelf(self.home)

    @cached_property
    def scorer(self) -> Scorer:
        """The champions in use, loaded once here; a process that serves keeps them fresh."""
        scorer = Scorer(self.shelf, MODEL_NAMES)
        scorer.refresh()
        return scorer

    @cached_property
    def desk(self) -> Desk:
        """Everything the deciding flows work with."""
        return Desk(
            ledger=self.ledger,
            features=self.features,
            scorer=self.scorer,
            playbook=self.playbook,
            clock=self.clock,
            secret=self.secret,
            code_version=__version__,
            new_id=new_decision_id,
            is_watching=self.settings.clock == "wall" and self._clock is None and not self.is_simulation,
            public_url=self.settings.public_url or "",
        )

    @cached_property
    def archive(self) -> Archive:
        """Parquet events in the home."""
        from opportune.adapters.parquet_archive import ParquetArchive

        return ParquetArchive(self.home)

    def read_events(
        self, file: Path, form: str, mapping: Path | None
    ) -> Iterator[tuple[list[Event], list[DeadLetter]]]:
        """Batches of events and dead letters of one file, in bounded memory.

        `mapping` null: `form` is `segment` or `retail`; else the file of the column mapping.
        Raises OSError, ValueError (PlaybookInvalid for a mapping that cannot be used).
        """
        now = self.clock.now()
        if mapping is not None:
            from opportune.adapters.mapped_files import read_mapped
            from opportune.playbook.mapping import read_mapping

            return read_mapped(file, read_mapping(mapping), now)
        from opportune.adapters import retail_files, segment_files

        return retail_files.read_retail(file, now) if form == "retail" else segment_files.read_segment(file, now)

    @cached_property
    def offline(self) -> OfflineFeatures:
        """Point-in-time features over the archive."""
        from opportune.adapters.duckdb_offline import DuckDbOffline

        return DuckDbOffline(self.home, place=self.feast.place)

    @cached_property
    def runlog(self) -> RunLog:
        """MLflow. Never asked for by the serving process."""
        from opportune.adapters.mlflow_runlog import MlflowRunLog

        return MlflowRunLog(self.home, self.settings.mlflow_uri)

    @cached_property
    def experiment_log(self) -> ExperimentLog:
        """The `ab/` half of MLflow. Never asked for by the serving process."""
        from opportune.adapters.mlflow_experiments import MlflowExperiments
        from opportune.adapters.mlflow_runlog import MlflowRunLog

        assert isinstance(self.runlog, MlflowRunLog)
        return MlflowExperiments(self.runlog)

    @cached_property
    def courier(self) -> Courier:
        """Where the service's own deliveries go: a file sink in the home."""
        from opportune.adapters.file_courier import FileCourier

        return FileCourier(self.home / "sent")

    @cached_property
    def owner(self) -> str:
        """This process's name on leases."""
        return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    @property
    def unit(self) -> Callable[[str], str]:
        """Customer id -> pseudonymous unit id."""
        return self.desk.unit

    def close(self) -> None:
        """Let go of the database and the online store."""
        if "feast" in self.__dict__:
            self.feast.close()
        if "ledger" in self.__dict__:
            self.ledger.close()


def new_decision_id() -> str:
    """A fresh decision id, sortable by time."""
    return f"d-{uuid.uuid4().hex[:30]}"
