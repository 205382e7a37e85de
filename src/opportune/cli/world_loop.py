"""One seed of `opportune simulate --world`: a world with history, models trained on it, every policy played from there.

Each policy gets the same world at the same moment (common random numbers), and Opportune's policies a copy of the same
trained home. Homes are thrown away; their SQLite does not wait for the disk.
"""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from opportune.cli.printing import say
from opportune.domain.events import DeadLetter, Event
from opportune.flows.close_loop import Opportune, Played, WorldCourier, played, speeches_of
from opportune.playbook.load import load
from opportune.playbook.vary import with_override
from opportune.settings import Settings
from opportune.wiring import MODEL_NAMES, Installation
from opportune.world import Rules, World, WorldConfig
from opportune.world.policies import Nothing, Oracle, Policy, WeeklyBlast, play

#: name -> what it does, as the help and the table say it.
POLICIES = {
    "nothing": "says nothing; what the others are measured against",
    "weekly_blast": "a newsletter to everybody who agreed, weekly, Tuesdays 10:00 UTC; consent only",
    "weekly_offer": "the same with the playbook's offer",
    "rules_only": "Opportune with the playbook, without any score",
    "full": "Opportune with the playbook and the models trained on the history",
    "oracle": "knows the truth; greedy; the best of several slot prices in hindsight",
}
#: What a slot under the caps may cost the oracle, in minor units; the best is taken.
ORACLE_PRICES = (0.0, 15.0, 40.0)
CHUNK = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to play: sizes, spans and policies. `new_customers` arrive during the loop."""

    n_customers: int
    n_days: int
    n_history_days: int
    policies: Sequence[str]
    end: datetime
    step: timedelta
    grain: timedelta
    playbook: Path | None
    frontier: str | None = None  # a cap: policies `1`, `2`... are `full` with so many messages in its window


def play_seed(plan: Plan, seed: int, folder: Path) -> Iterator[Played]:
    """Every policy in the world of one seed, one after the other. `folder` is deleted with all homes at the end."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config = WorldConfig(
        n_customers=plan.n_customers,
        n_days=plan.n_history_days,
        n_new_customers=max(1, plan.n_customers * plan.n_days // 1200),
        new_days=plan.n_days,
    )
    world = World(config, seed=seed, end=plan.end)
    start = world.fork()
    start.hold_to(Rules.of(load(plan.playbook).spec))
    trained = folder / "trained"
    ours = {"rules_only", "full"} & set(plan.policies)
    if ours or plan.frontier:
        learn(world, plan, trained, with_models="full" in ours or plan.frontier is not None)
    until = plan.end + timedelta(days=plan.n_days)
    try:
        for name in plan.policies:
            yield _play(name, start, until, plan, trained, folder / name, seed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _play(name: str, start: World, until: datetime, plan: Plan, trained: Path, home: Path, seed: int) -> Played:
    def account(policy: Policy) -> Played:
        world, began = start.fork(), time.monotonic()
        sent = play(world, policy, until, plan.step)
        return played(name, seed, world, sent, time.monotonic() - began)

    if name == "nothing":
        return account(Nothing())
    if name in ("weekly_blast", "weekly_offer"):
        return account(WeeklyBlast("weekly_blast" if name == "weekly_blast" else "likely_buyer_offer"))
    if name == "oracle":
        speeches = speeches_of(load(plan.playbook).spec)
        return max((account(Oracle(speeches, price)) for price in ORACLE_PRICES), key=lambda p: p.revenue_minor)
    copy_home(trained, home)
    i = Installation(settings_of(home, plan), is_simulation=True)
    if name.isdigit():
        i.playbook = with_override(i.playbook, {f"caps.{plan.frontier}.at_most": int(name)})
        start.hold_to(Rules.of(i.playbook.spec))
        with i.ledger.begin() as uow:
            uow.playbooks.put(i.playbook.hash, i.playbook.source, start.now)
    try:
        return account(opportune_policy(i, plan.grain, with_scores=name != "rules_only"))
    finally:
        i.close()


def opportune_policy(i: Installation, grain: timedelta, *, with_scores: bool) -> Opportune:
    """Opportune on this installation, as a policy of a world."""
    from opportune.flows.scoring import Scorer

    desk = i.desk if with_scores else replace(i.desk, scorer=Scorer(i.shelf, ()))
    return Opportune(desk, i.replay_clock, WorldCourier(i.playbook), grain=grain)


def settings_of(home: Path, plan: Plan) -> Settings:
    """A throw-away installation on SQLite, whatever the environment says."""
    return Settings(
        home=home, playbook=plan.playbook, database_url=None, redis_url=None, mlflow_uri=None, clock="replay"
    )


def learn(world: World, plan: Plan, home: Path, *, with_models: bool) -> None:
    """The world's history in a home whose clock stands at its end, and the models that can be trained on it."""
    from opportune.cli.ingest import ingest_batches
    from opportune.cli.train import train_one

    i = Installation(settings_of(home, plan), is_simulation=True)
    i.replay_clock.start(plan.end)
    report = ingest_batches(i, batches(world, plan.end), quiet)
    say(f"  {report['n_accepted']:,} events of history")
    for name in MODEL_NAMES if with_models else ():
        trained = train_one(i, name, None)
        say(f"  {trained.to_text().splitlines()[0]}")
    i.close()


def batches(world: World, at: datetime) -> Iterator[tuple[list[Event], list[DeadLetter]]]:
    """The world's history in batches, as import sees it."""
    events = world.domain_events(ingested_at=at)
    while batch := list(islice(events, CHUNK)):
        yield batch, []


def quiet(n: int) -> None:
    """No counting."""


def copy_home(trained: Path, home: Path) -> None:
    """The ledger and the champions of a closed installation."""
    home.mkdir(parents=True)
    for path in trained.glob("ledger.db*"):
        shutil.copy2(path, home / path.name)
    if (trained / "models").exists():
        shutil.copytree(trained / "models", home / "models")
