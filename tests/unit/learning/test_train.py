"""The story of training, on a small made-up shop whose truth is known, with fakes on every port."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from tests.unit.learning.fakes import FixedClock, MemoryRunLog, PlainOffline, ReadingLedger, event, playbook

from opportune.domain.customers import Consent, ConsentState, Customer
from opportune.domain.events import Event
from opportune.flows.fetch import fetch_champions
from opportune.flows.train import TrainReport, train
from opportune.learning.model import LoadedModel
from opportune.playbook.schema import Goal
from opportune.ports import ModelFiles

T0 = datetime(2026, 1, 1, tzinfo=UTC)
AS_OF = T0 + timedelta(days=110)


def shop(n_customers: int = 260, days: int = 120) -> list[Event]:
    """Customers order at their own daily rate, between once in 10 and once in 200 days; some only look around."""
    rng = np.random.default_rng(2)
    events: list[Event] = []
    for i in range(n_customers):
        rate = 1 / rng.uniform(10, 60) if i % 3 == 0 else 1 / rng.uniform(100, 200)
        events.append(event(f"c{i}", "Product Viewed", T0 + timedelta(days=float(rng.uniform(0, 20)))))
        for d in np.flatnonzero(rng.uniform(size=days) < rate):
            at = T0 + timedelta(days=float(d), hours=float(rng.uniform(0, 23)))
            events.append(event(f"c{i}", "Order Completed", at, int(d), revenue=20.0))
    return events


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return shop()


def run(
    events: list[Event],
    runlog: MemoryRunLog,
    as_of: datetime = AS_OF,
    ledger: ReadingLedger | None = None,
    goal: Goal | None = None,
) -> TrainReport:
    return train(
        "purchase",
        as_of,
        ledger=ledger or ReadingLedger(events),
        offline=PlainOffline(events),
        runlog=runlog,
        clock=FixedClock(),
        playbook=playbook(goal, holds=lambda text, env: text is None or env["event"].get("revenue", 0) > 1e6),
    )


@pytest.fixture(scope="module")
def trained(events: list[Event]) -> tuple[TrainReport, MemoryRunLog]:
    runlog = MemoryRunLog()
    return run(events, runlog), runlog


def test_a_first_model_that_passes_becomes_champion(trained: tuple[TrainReport, MemoryRunLog]) -> None:
    """Verdict, version, metrics beside the baseline's on the same rows, and files that load and score."""
    report, runlog = trained
    assert (report.verdict, report.version, report.reasons) == ("promoted", "1", [])
    assert runlog.champion("purchase") == "1"
    assert {row["model"] for row in report.table} == {"model", "baseline", "base_rate"}
    assert 0.6 < report.metrics["auc"] < 0.9
    files = runlog.fetch("purchase", "1")
    manifest = json.loads(files["manifest.json"])
    model = LoadedModel(ModelFiles(name="purchase", version="1", manifest=manifest, text=files["model.txt"].decode()))
    assert model.target == "order within 30 d"
    assert b"Judged on the newest matured cohort" in files["CARD.md"]
    assert "is the champion now" in report.to_text()
    json.dumps(report.to_dict())


def test_the_held_out_cohort_ends_one_horizon_before_the_knowledge_time(
    trained: tuple[TrainReport, MemoryRunLog],
) -> None:
    """The cohort in the report is as-of minus 30 days, and no cut-off is newer."""
    report, runlog = trained
    cohort = (AS_OF - timedelta(days=30)).isoformat()
    assert {row["cohort"] for row in report.table} == {cohort}
    manifest = json.loads(runlog.fetch("purchase", "1")["manifest.json"])
    assert max(manifest["data"]["cut_offs"]) == cohort


def test_the_future_changes_nothing(events: list[Event], trained: tuple[TrainReport, MemoryRunLog]) -> None:
    """Without the events after the knowledge time, and with ones known only later, the same model comes out."""
    past = [e for e in events if e.event_at <= AS_OF]
    late = [
        event(
            f"c{i}", "Order Completed", AS_OF - timedelta(days=20), 9, known_at=AS_OF + timedelta(days=1), revenue=5.0
        )
        for i in range(200)
    ]
    runlog = MemoryRunLog()
    run(past + late, runlog)
    assert runlog.fetch("purchase", "1") == trained[1].fetch("purchase", "1")


def test_retraining_on_the_same_data_is_compared_with_the_champion_and_passes(
    events: list[Event], trained: tuple[TrainReport, MemoryRunLog]
) -> None:
    """The same recipe on the same rows is exactly as good as the champion, judged out of time like it."""
    runlog = MemoryRunLog(files=dict(trained[1].files), champions={"purchase": "1"})
    report = run(events, runlog)
    assert report.verdict == "promoted"
    assert report.metrics["champion_log_loss"] == report.metrics["log_loss"]
    assert runlog.champion("purchase") == "2"


def test_an_older_knowledge_time_never_replaces_a_newer_champion(
    events: list[Event], trained: tuple[TrainReport, MemoryRunLog]
) -> None:
    """It is registered and refused, with the reason."""
    runlog = MemoryRunLog(files=dict(trained[1].files), champions={"purchase": "1"})
    report = run(events, runlog, as_of=AS_OF - timedelta(days=3))
    assert report.verdict == "refused"
    assert any("knows more" in reason for reason in report.reasons)
    assert runlog.champion("purchase") == "1"


def test_thin_data_registers_the_prior_and_says_so(events: list[Event]) -> None:
    """Twenty customers are too few: one p for all, between the spec's prior and what was seen."""
    few = [e for e in events if str(e.user_id) in {f"c{i}" for i in range(20)}]
    runlog = MemoryRunLog()
    report = run(few, runlog)
    manifest = json.loads(runlog.fetch("purchase", "1")["manifest.json"])
    assert report.verdict == "prior"
    assert any("are needed" in reason for reason in report.reasons)
    assert manifest["kind"] == "prior"
    assert 0.05 < manifest["p"] < 0.4
    assert runlog.champion("purchase") == "1"


def test_no_data_at_all_is_the_bare_prior() -> None:
    """An empty ledger gives the specification's own number."""
    runlog = MemoryRunLog()
    report = run([], runlog)
    assert report.verdict == "prior"
    assert json.loads(runlog.fetch("purchase", "1")["manifest.json"])["p"] == pytest.approx(0.10)


def test_a_prior_never_replaces_trained_trees(trained: tuple[TrainReport, MemoryRunLog]) -> None:
    """Thin data leaves a trained champion in place."""
    runlog = MemoryRunLog(files=dict(trained[1].files), champions={"purchase": "1"})
    report = run([], runlog)
    assert report.verdict == "prior"
    assert runlog.champion("purchase") == "1"


def test_the_goals_condition_decides_what_counts(events: list[Event]) -> None:
    """With a condition that no order meets nobody reached the goal, so the prior falls."""
    runlog = MemoryRunLog()
    report = run(events, runlog, goal=Goal(event="Order Completed", when="event.revenue > 1000000"))
    assert report.verdict == "prior"
    assert json.loads(runlog.fetch("purchase", "1")["manifest.json"])["p"] < 0.10


def test_test_customers_and_those_who_refuse_profiling_are_not_learned_from(events: list[Event]) -> None:
    """Neither appears in the rows."""
    few = [e for e in events if str(e.user_id) in {f"c{i}" for i in range(20)}]
    ledger = ReadingLedger(few)
    ledger.customers["c1"] = Customer(customer_id="c1", traits={"is_test": True})
    ledger.consents["c2"] = [
        Consent(
            consent_id="k",
            customer_id="c2",
            channel="profiling",
            topic="*",
            state=ConsentState.OUT,
            at=T0,
            source="web",
            recorded_at=T0,
        )
    ]
    runlog = MemoryRunLog()
    run(few, runlog, ledger=ledger)
    assert json.loads(runlog.fetch("purchase", "1")["manifest.json"])["data"]["n_customers"] == 18


def test_a_lost_training_row_fails_the_run(events: list[Event]) -> None:
    """A frame with fewer rows than asked for is never trained on."""

    class Losing(PlainOffline):
        def training_set(self, rows, tail, claims, names=None):  # type: ignore[no-untyped-def]
            return self.as_of(rows.head(3), tail, claims, names)

    runlog = MemoryRunLog()
    report = train(
        "purchase",
        AS_OF,
        ledger=ReadingLedger(events),
        offline=Losing(events),
        runlog=runlog,
        clock=FixedClock(),
        playbook=playbook(),
    )
    assert report.verdict == "failed"
    assert runlog.files == {}


def test_a_goal_the_playbook_lacks_fails_with_what_to_do(events: list[Event]) -> None:
    """The reason names the goal and where to declare it."""
    book = playbook()
    book.spec = book.spec.model_copy(update={"goals": {}})
    report = train(
        "purchase",
        None,
        ledger=ReadingLedger(events),
        offline=PlainOffline(events),
        runlog=MemoryRunLog(),
        clock=FixedClock(),
        playbook=book,
    )
    assert report.verdict == "failed"
    assert "'order'" in report.reasons[0]


class Stock:
    """A shelf in memory that refuses what is marked bad."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def champion(self, name: str) -> str | None:
        return self.held.get(name)

    def put(self, name: str, version: str, files: dict[str, bytes]) -> None:
        if files["model.txt"] == b"bad":
            raise ValueError("no hash")
        self.held[name] = version


def test_champions_are_fetched_once_and_a_bad_one_leaves_the_old_in_place() -> None:
    """New champion: put; same champion: nothing; one that cannot be verified: the one on disk stays."""
    stock = Stock()
    runlog = MemoryRunLog(
        files={("purchase", "1"): {"model.txt": b"good"}, ("purchase", "2"): {"model.txt": b"bad"}},
        champions={"purchase": "1"},
    )
    assert fetch_champions(["purchase", "churn"], runlog, stock) == ["purchase/1"]  # type: ignore[arg-type]
    assert fetch_champions(["purchase"], runlog, stock) == []  # type: ignore[arg-type]
    runlog.promote("purchase", "2")
    assert fetch_champions(["purchase"], runlog, stock) == []  # type: ignore[arg-type]
    assert stock.champion("purchase") == "1"
