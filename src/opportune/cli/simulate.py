"""opportune simulate."""

import os
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opportune.cli.printing import result, say, span

if TYPE_CHECKING:
    from opportune.flows.close_loop import Estimate, Line

#: The last day of history, so that the same command gives the same table on any day.
END = "2026-03-01"
#: What the cap frontier tries, messages in the cap's window.
FRONTIER = range(1, 8)
DEFAULT_POLICIES = "nothing,weekly_blast,weekly_offer,rules_only,full,oracle"


@click.command(
    "simulate",
    epilog="Example:  opportune simulate --playbook new/ --on 30d     or, against the sample world:  "
    "opportune simulate --world --customers 3000 --days 60 --seeds 5 --markdown",
)
@click.option("--world", "is_world", is_flag=True, help="Closed loop against the sample world (docs/world.md).")
@click.option(
    "--playbook",
    "new",
    default=None,
    type=click.Path(exists=True, path_type=Path),
    help="Dry run: play history under this playbook beside the active one (OPPORTUNE_PLAYBOOK).",
)
@click.option(
    "--on",
    "period",
    default="30d",
    show_default=True,
    help="What the dry run plays: the last 30d, FROM..TO (dates), or `world`: a sample world of --customers.",
)
@click.option(
    "--share", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="Of customers."
)
@click.option("--ask-every", default=None, help="Also ask about everybody this often, for campaigns of kind request.")
@click.option("--customers", default=500, show_default=True, type=click.IntRange(20, 1_000_000))
@click.option("--days", default=20, show_default=True, type=click.IntRange(1, 365), help="Length of the closed loop.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1, 100), help="Independent worlds.")
@click.option("--history-days", default=150, show_default=True, type=click.IntRange(30, 1000), help="To learn from.")
@click.option("--policies", default=DEFAULT_POLICIES, show_default=True, help="Comma-separated; `nothing` always runs.")
@click.option(
    "--frontier",
    default=None,
    help="A cap, like marketing_per_week: instead of --policies, value against unsubscribes at 1 to 7 in its window.",
)
@click.option("--step", default="1h", show_default=True, help="How often the world's events come in.")
@click.option("--grain", default="15m", show_default=True, help="How often due timers and messages are looked at.")
@click.option("--end", "end_text", default=END, show_default=True, help="Where history ends and the loop begins.")
@click.option("--markdown", is_flag=True, help="Print the table as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    is_world: bool, new: Path | None, period: str, share: float, ask_every: str | None, customers: int, days: int,
    seeds: int, history_days: int, policies: str,
    frontier: str | None, step: str, grain: str, end_text: str, markdown: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compare policies against a world whose truth is known: value, messages, unsubscribes, broken promises.

    Every policy meets the same customers with the same luck. The world itself counts broken caps, consent and quiet
    hours. Without options a small run of a few minutes: 500 customers, 20 days, 2 seeds.

    With --playbook a dry run instead: what this playbook would have sent in a period of this installation's own
    history, beside the active one. Nothing of the installation is touched.
    """
    if is_world == (new is not None):
        raise click.UsageError("say what to simulate: --world, or --playbook FOLDER")
    if new is not None:
        from opportune.cli.dry_run import dry_run

        dry_run(
            new, period, share=share, ask_every=span(ask_every, "--ask-every") if ask_every else None,
            grain=span(grain, "--grain"), n_customers=customers, markdown=markdown, as_json=as_json,
        )  # fmt: skip
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from opportune.cli.world_loop import POLICIES, Plan, play_seed
    from opportune.domain.instants import parse_instant
    from opportune.flows.close_loop import compare
    from opportune.settings import Settings

    names = list(dict.fromkeys(["nothing", *(p.strip() for p in policies.split(",") if p.strip())]))
    if frontier is not None:
        names = ["nothing", *map(str, FRONTIER)]
        check_cap(frontier)
    unknown = [n for n in names if n not in POLICIES and not frontier]
    if unknown:
        raise click.UsageError(f"--policies: no policy '{unknown[0]}'; there are: {', '.join(POLICIES)}")
    end = parse_instant(end_text).astimezone(UTC)
    plan = Plan(
        n_customers=customers,
        n_days=days,
        n_history_days=history_days,
        policies=names,
        end=end,
        step=span(step, "--step"),
        grain=span(grain, "--grain"),
        playbook=Settings().playbook,
        frontier=frontier,
    )
    if plan.step.total_seconds() <= 0:
        raise click.UsageError("--step: a positive duration like 1h")
    began = time.monotonic()
    runs = []
    with tempfile.TemporaryDirectory(prefix="opportune-simulate-") as folder:
        for seed in range(1, seeds + 1):
            say(f"seed {seed} of {seeds}: {customers:,} customers, {history_days} days of history")
            for run in play_seed(plan, seed, Path(folder) / f"seed{seed}"):
                runs.append(run)
                say(f"  {run.policy:<13} {run.n_marketing + run.n_transactional:>7,} messages  {run.seconds:6.1f} s")
    lines = compare(runs)
    title = (
        f"{customers:,} customers, {days} days from {end:%Y-%m-%d} after {history_days} days of history, "
        f"{seeds} seed{'s' if seeds > 1 else ''}; {time.monotonic() - began:,.0f} s"
    )
    data = {
        "customers": customers, "days": days, "seeds": seeds, "history_days": history_days, "end": end,
        "policies": [to_dict(line) for line in lines],
    }  # fmt: skip
    meaning = {**POLICIES, **{str(n): f"`full` with at most {n} by the cap {frontier}" for n in FRONTIER}}
    result(data, words(lines, title, markdown, meaning), as_json)


def check_cap(name: str) -> None:
    """Raises UsageError when the active playbook has no such cap with `at_most`."""
    from opportune.playbook.load import load
    from opportune.settings import Settings

    caps = {n for n, cap in load(Settings().playbook).spec.caps.items() if cap.at_most is not None}
    if name not in caps:
        raise click.UsageError(f"--frontier: no cap '{name}' with `at_most`; there are: {', '.join(sorted(caps))}")


def to_dict(line: "Line") -> dict[str, Any]:
    """A line as JSON: each estimate as mean and half-width of its 95 % interval (null with one seed)."""

    def of(e: "Estimate") -> dict[str, float | None]:
        return {"mean": e.mean, "half_width": e.half}

    return {
        "policy": line.policy,
        "value_minor_per_customer": of(line.value_minor),
        "messages_per_customer": of(line.n_marketing),
        "unsubscribes_per_1000": of(line.n_unsubscribes),
        "transactional_per_customer": line.n_transactional,
        "violations": dict(line.violations),
        "campaigns": dict(line.campaigns),
    }


def words(lines: Sequence["Line"], title: str, markdown: bool, meaning: dict[str, str]) -> str:
    """The table and what its columns mean."""
    head = [
        "policy",
        "value per customer",
        "messages per customer",
        "unsubscribes per 1,000",
        "consent",
        "quiet hours",
        "caps",
    ]
    rows = [head]
    for line in lines:
        broken = dict(line.violations)
        consent, quiet = broken.pop("consent", 0), broken.pop("quiet_hours", 0)
        rows.append(
            [
                line.policy,
                told(line.value_minor, 1),
                told(line.n_marketing, 2),
                told(line.n_unsubscribes, 1),
                f"{consent:,}",
                f"{quiet:,}",
                f"{sum(broken.values()):,}",
            ]
        )
    notes = [
        "Value: revenue less that of `nothing` in the same world, in minor units. Messages: marketing only. The last",
        "three columns: broken promises over all seeds, counted by the world. +/-: 95 % t-interval over seeds.",
        *(f"{line.policy}: {meaning[line.policy]}." for line in lines),
    ]
    if markdown:
        table = ["| " + " | ".join(r) + " |" for r in rows]
        table.insert(1, "|" + "---|" * len(head))
        return "\n".join([title, "", *table, "", *(f"- {n}" for n in [" ".join(notes[:2]), *notes[2:]])])
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    table = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    ]
    return "\n".join([title, "", *table, "", *notes])


def told(e: "Estimate", digits: int) -> str:
    """Mean and half-width."""
    return f"{e.mean:,.{digits}f}" + ("" if e.half is None else f" +/- {e.half:,.{digits}f}")
