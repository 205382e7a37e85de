"""The dry run of `opportune simulate --playbook NEW`: one period, two playbooks, two ledgers to throw away."""

import os
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import instant, result, say, span

if TYPE_CHECKING:
    from opportune.experiments.dry import DryTally
    from opportune.flows.dry_run import Scene
    from opportune.wiring import Installation

#: The part of a sample world's history that is played; what comes before it is only known.
WORLD_DAYS = 30
CHUNK = 2000


def dry_run(
    new: Path,
    period: str,
    *,
    share: float,
    ask_every: timedelta | None,
    grain: timedelta,
    n_customers: int,
    markdown: bool,
    as_json: bool,
) -> None:
    """Play a period under the active playbook and under `new`, and print both side by side."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from opportune.experiments.dry import compare, to_words
    from opportune.flows.dry_run import regular_asks, scene_of
    from opportune.playbook.load import load
    from opportune.wiring import Installation

    load(new)  # its problems first, before anything long
    began = time.monotonic()
    source = Installation()
    with tempfile.TemporaryDirectory(prefix="opportune-dry-") as folder:
        if period == "world":
            source = _world(source, Path(folder) / "world", n_customers)
        start, end = _span(period, source)
        say(f"reading {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC")
        scene = scene_of(source.ledger, start, end, share)
        if ask_every is not None:
            scene.asks += regular_asks(source.ledger, start, end, ask_every, share)
        if not scene.events and not scene.asks:
            raise click.ClickException(f"nothing happened from {start:%Y-%m-%d} to {end:%Y-%m-%d}: name another --on")
        say(f"{scene.n_before:,} events before, {len(scene.events):,} in the period, {len(scene.asks):,} requests")
        tallies = [
            _play(name, playbook, scene, source, Path(folder) / name, share, grain)
            for name, playbook in (("active", source.settings.playbook), ("new", new))
        ]
        source.close()
    found = compare(*tallies)
    sampled = "" if share >= 1 else f", {share:.0%} of customers"
    title = (
        f"{new} against the active playbook, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC{sampled}; "
        f"{time.monotonic() - began:,.0f} s"
    )
    result({"from": start, "to": end, "share": share, **found}, to_words(found, title, markdown), as_json)


def _span(period: str, source: "Installation") -> tuple[datetime, datetime]:
    """`30d` up to now, or FROM..TO. Raises UsageError."""
    now = source.clock.now()
    if period == "world":
        return now - timedelta(days=WORLD_DAYS), now
    first, dots, last = period.partition("..")
    if not dots:
        return now - span(period, "--on"), now
    start, end = instant(first, "--on"), instant(last, "--on") if last else now
    assert start is not None
    assert end is not None
    if end <= start:
        raise click.UsageError(f"--on: {first} is not before {last or 'now'}")
    return start, min(end, now)


def _play(
    name: str, playbook: Path | None, scene: "Scene", source: "Installation", home: Path, share: float, grain: timedelta
) -> "DryTally":
    """One playbook over the scene, on a ledger of its own, with the installation's models and draws."""
    from opportune.flows.dry_run import carry_over, history_of, play
    from opportune.flows.ingest import ingest

    i = _scratch(home, playbook)
    try:
        i.replay_clock.start(scene.start)
        desk = replace(i.desk, scorer=source.scorer, secret=source.secret)
        for page in history_of(source.ledger, scene.start, share):
            ingest(page, (), desk.ledger, desk.playbook, desk.clock)
        carry_over(source.ledger, desk, scene.start)
        total, shown = len(scene.events) + len(scene.asks), time.monotonic()

        def tell(at: datetime, done: int) -> None:
            nonlocal shown
            if time.monotonic() - shown >= 2:
                shown = time.monotonic()
                say(f"  {name}: {at:%Y-%m-%d %H:%M}, {done:,} of {total:,}")

        return play(scene, desk, _Silent(), i.replay_clock, grain=grain, report=tell)
    finally:
        i.close()


class _Silent:
    """A courier that hands over to nobody."""

    def deliver(self, sends: object, at: datetime) -> None:
        """Nothing leaves."""


def _scratch(home: Path, playbook: Path | None) -> "Installation":
    from opportune.settings import Settings
    from opportune.wiring import Installation

    settings = Settings(
        home=home, playbook=playbook, database_url=None, redis_url=None, mlflow_uri=None, clock="replay"
    )
    return Installation(settings, is_simulation=True)


def _world(real: "Installation", home: Path, n_customers: int) -> "Installation":
    """A sample world's history in a home of its own, scored by the champions of the real one."""
    from opportune.flows.ingest import ingest
    from opportune.world import World, WorldConfig

    now = real.clock.now()
    i = _scratch(home, real.settings.playbook)
    i.replay_clock.start(now)
    world = World(WorldConfig(n_customers=n_customers), seed=1, end=now)
    events = world.domain_events(ingested_at=now)
    while batch := list(islice(events, CHUNK)):
        ingest(batch, (), i.ledger, i.playbook, i.clock)
    i.scorer = real.scorer
    return i
