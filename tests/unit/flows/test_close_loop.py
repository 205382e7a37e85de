"""A small closed loop: Opportune against a world that answers, judged by the world."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opportune.cli.world_loop import opportune_policy
from opportune.flows.close_loop import Opportune, Played, compare, estimate, played, speeches_of
from opportune.flows.ingest import ingest
from opportune.settings import Settings
from opportune.wiring import Installation
from opportune.world import Delivery, Rules, World, WorldConfig
from opportune.world.policies import Nothing, Oracle, WeeklyBlast, play

END = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = timedelta(days=10)
CONFIG = WorldConfig(n_customers=80, n_days=40, n_new_customers=30, new_days=10, early_share=1.0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world at the end of its history, and a home that has taken that history in."""
    home = tmp_path_factory.mktemp("loop") / "home"
    world = World(CONFIG, seed=3, end=END)
    i = open_home(home)
    i.replay_clock.start(END)
    ingest(list(world.domain_events(ingested_at=END)), (), i.ledger, i.playbook, i.clock)
    start = world.fork()
    start.hold_to(Rules.of(i.playbook.spec))
    i.close()
    return start, home


def open_home(home: Path) -> Installation:
    settings = Settings(home=home, playbook=None, database_url=None, redis_url=None, mlflow_uri=None, clock="replay")
    return Installation(settings, is_simulation=True)


@pytest.fixture
def at_home(shop: tuple[World, Path], tmp_path: Path) -> Callable[[str], tuple[World, Path]]:
    """A fork of the world and a copy of the home, as often as asked."""

    def copy(name: str) -> tuple[World, Path]:
        shutil.copytree(shop[1], tmp_path / name)
        return shop[0].fork(), tmp_path / name

    return copy


def told(sent: list[Delivery]) -> list[tuple[datetime, str, str, str]]:
    return sorted((d.at, d.customer_id, d.campaign, d.channel) for d in sent)


def test_opportune_speaks_and_breaks_no_promise(at_home: Callable[[str], tuple[World, Path]]) -> None:
    """Ten days of messages to customers of all zones; the world's own referee finds nothing to object to."""
    world, home = at_home("a")
    policy = opportune_policy(open_home(home), timedelta(minutes=15), with_scores=False)
    sent = play(world, policy, END + DAYS)
    assert {d.campaign for d in sent} >= {"cart_reminder", "browse_reminder", "order_confirmation", "welcome"}
    assert world.violations == []
    assert world.accounts()["n_messages"].sum() == len(sent) == policy.passage.n_sent
    assert policy.n_asked > 50
    assert policy.n_events > 300
    with policy.desk.ledger.read() as uow:
        outcomes = uow.outcomes.of([d.message_id for d in sent])
    assert any(outcomes.values())


def test_restarts_between_steps_change_nothing(at_home: Callable[[str], tuple[World, Path]]) -> None:
    """A process that ends after every six hours and a new one on its home say exactly the same, once."""
    world, home = at_home("whole")
    whole = play(world, opportune_policy(open_home(home), timedelta(minutes=15), with_scores=False), END + DAYS / 4)
    other, home = at_home("cut")
    events, cut, left = [], [], []
    while other.now < END + DAYS / 4:
        i = open_home(home)
        policy = opportune_policy(i, timedelta(minutes=15), with_scores=False)
        policy.courier.hold(left)
        for _ in range(6):
            to = other.now + timedelta(hours=1)
            spoken = policy.speak(other, events, to)
            events = other.step(to, spoken)
            cut += spoken
        left = policy.courier.take(END + 2 * DAYS)  # handed over at the very end of the last step
        i.close()
    assert told(cut) == told(whole)
    assert len({d.message_id for d in cut}) == len(cut)


def test_policies_that_know_less_or_more_are_judged_alike(shop: tuple[World, Path]) -> None:
    """The blast wakes people at night, and is seen to; the oracle brings more than either, and breaks nothing."""
    start, home = shop
    runs = []
    speeches = speeches_of(open_home(home).playbook.spec)
    assert {s.campaign for s in speeches} == {"welcome", "cart_reminder", "browse_reminder", "likely_buyer_offer"}
    for name, policy in {
        "nothing": Nothing(), "weekly_blast": WeeklyBlast("weekly_blast"), "oracle": Oracle(speeches),
    }.items():  # fmt: skip
        world = start.fork()
        runs.append(played(name, 3, world, play(world, policy, END + DAYS), 0.0))
    lines = {line.policy: line for line in compare(runs)}
    assert lines["nothing"].value_minor.mean == lines["weekly_blast"].value_minor.mean == 0
    assert lines["oracle"].value_minor.mean > 0
    assert lines["weekly_blast"].violations["quiet_hours"] > 0
    assert set(lines["weekly_blast"].violations) == {"quiet_hours"}
    assert lines["oracle"].violations == {}
    assert lines["weekly_blast"].campaigns["weekly_blast"] > 50


RUN = Played(
    policy="nothing", seed=1, n_customers=100, revenue_minor=1000, n_marketing=0, n_transactional=0, n_unsubscribes=0,
    violations={}, campaigns={}, seconds=0.0,
)  # fmt: skip


def test_values_are_measured_against_nothing_of_the_same_seed() -> None:
    """Common random numbers: the difference within each world, its mean and t-interval over worlds."""
    runs = [RUN, replace(RUN, seed=2, revenue_minor=5000)]
    runs += [
        replace(r, policy="full", revenue_minor=r.revenue_minor + 100 * r.seed, violations={"day": 1}) for r in runs
    ]
    line = compare(runs)[1]
    assert line.value_minor.mean == pytest.approx(1.5)
    assert line.value_minor.half == pytest.approx(12.706 * 0.5, rel=1e-3)  # t with 1 degree of freedom
    assert line.violations == {"day": 2}
    with pytest.raises(ValueError, match="seed 7"):
        compare([*runs, replace(RUN, policy="full", seed=7)])


def test_one_seed_has_no_interval() -> None:
    """And is not given one."""
    assert estimate([3.0]).half is None


def test_a_policy_whose_clock_is_not_the_worlds_is_refused(at_home: Callable[[str], tuple[World, Path]]) -> None:
    """Before anything is decided."""
    world, home = at_home("late")
    world.step(END + timedelta(hours=1))
    policy: Opportune = opportune_policy(open_home(home), timedelta(0), with_scores=False)
    with pytest.raises(ValueError, match="replay clock"):
        policy.speak(world, [], END + timedelta(hours=2))
