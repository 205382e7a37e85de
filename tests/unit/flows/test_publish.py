"""Publishing: every row once, whatever is cut off in the middle and whoever else wants to publish."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.desks import FakeFeatureStore, desk_of

from opportune.adapters.parquet_archive import ParquetArchive
from opportune.domain.decisions import Ask
from opportune.domain.events import Event
from opportune.domain.identity import N_BUCKETS
from opportune.flows.decide import decide
from opportune.flows.publish import archive_events, publish_decisions

from .ingesting import Shop, event


class Cut(Exception):
    """The process was killed here."""


class CutArchive:
    """Writes a page, and is killed before anybody can note that it was written; the second time all goes well."""

    def __init__(self, real: ParquetArchive) -> None:
        self._real, self.n_cuts = real, 1

    def append(self, events: Sequence[tuple[Event, str]], cursor: str) -> None:
        self._real.append(events, cursor)
        if self.n_cuts:
            self.n_cuts -= 1
            raise Cut


class CutRunLog:
    """MLflow by batch id: a batch that is there is left alone. Killed once, after writing."""

    def __init__(self) -> None:
        self.batches: dict[str, bytes] = {}
        self.n_cuts = 1

    def log_decisions(self, experiment: str, batch_id: str, parquet: bytes, metrics: Mapping[str, float]) -> None:
        self.batches.setdefault(batch_id, parquet)
        if self.n_cuts:
            self.n_cuts -= 1
            raise Cut


def archived(archive: ParquetArchive) -> list[str]:
    files = [file for bucket in range(N_BUCKETS) for file in archive.files(bucket)]
    return sorted(m for file in files for m in pq.read_table(file, partitioning=None)["message_id"].to_pylist())


def test_events_that_came_after_a_page_was_cut_off_are_archived_too(tmp_path: Path) -> None:
    """The page is written, the process killed, more events come for the same buckets: nothing is lost or doubled."""
    shop, archive = Shop(), ParquetArchive(tmp_path)
    cut = CutArchive(archive)
    shop.take(*[event("Seen", 1, mid=f"m{i}") for i in range(3)])
    with pytest.raises(Cut):
        archive_events(shop.ledger, cut, shop, "one")
    shop.take(*[event("Seen", 2, mid=f"m{i}") for i in range(3, 6)])
    assert archive_events(shop.ledger, cut, shop, "one") == 6
    assert archived(archive) == [f"m{i}" for i in range(6)]


def test_decisions_that_came_after_a_page_was_cut_off_are_published_too() -> None:
    """As for events: the batch in MLflow is left alone, and the decisions since then get one of their own."""
    shop = Shop()
    desk = desk_of(shop.playbook, shop.ledger, clock=shop, features=FakeFeatureStore())
    runlog = CutRunLog()
    decide([Ask(customer_id="c1")], desk)
    with pytest.raises(Cut):
        publish_decisions(shop.ledger, runlog, shop, "one", desk.unit)
    decide([Ask(customer_id="c2")], desk)
    assert publish_decisions(shop.ledger, runlog, shop, "one", desk.unit) == 2
    found = [i for p in runlog.batches.values() for i in pq.read_table(io.BytesIO(p))["decision_id"].to_pylist()]
    assert sorted(found) == ["d-1", "d-2"]


def test_who_has_published_all_lets_others_publish_at_once(tmp_path: Path) -> None:
    """A command beside a running worker need not wait until the worker's lease has run out."""
    shop, archive = Shop(), ParquetArchive(tmp_path)
    shop.take(event("Seen", 1, mid="m1"))
    assert archive_events(shop.ledger, archive, shop, "worker") == 1
    shop.take(event("Seen", 2, mid="m2"))
    assert archive_events(shop.ledger, archive, shop, "command") == 1
