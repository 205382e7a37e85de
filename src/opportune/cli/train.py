"""opportune train."""

from datetime import datetime
from typing import TYPE_CHECKING

import click

from opportune.cli.printing import instant, json_option, result, say

if TYPE_CHECKING:
    from opportune.flows.train import TrainReport
    from opportune.wiring import Installation

EXIT = {"promoted": 0, "prior": 0, "refused": 3, "failed": 1}


@click.command(
    "train",
    epilog="Example:  opportune train all --as-of 2026-10-31      Exit: 0 promoted (or a prior), 3 refused, 1 failed",
)
@click.argument("name", type=click.Choice(["churn", "purchase", "send_time", "all"]))
@click.option("--as-of", default=None, help="Knowledge time: labels have matured by then. Default: now.")
@json_option
@click.pass_context
def command(ctx: click.Context, name: str, as_of: str | None, as_json: bool) -> None:
    """Build labels and features as of each cut-off, fit, judge against champion and baseline, register in MLflow."""
    from opportune.wiring import MODEL_NAMES, Installation

    installation = Installation()
    at = instant(as_of, "--as-of")
    reports = [train_one(installation, n, at) for n in (MODEL_NAMES if name == "all" else (name,))]
    result([r.to_dict() for r in reports], "\n\n".join(r.to_text() for r in reports), as_json)
    found = {EXIT[str(r.verdict)] for r in reports}
    ctx.exit(1 if 1 in found else max(found, default=0))  # a failure says more than a refusal


def train_one(installation: "Installation", name: str, as_of: datetime | None) -> "TrainReport":
    """Train one model over an installation, its events archived first, its champion fetched afterwards."""
    from opportune.flows.fetch import fetch_champions
    from opportune.flows.publish import archive_events
    from opportune.flows.serve_models import serve_models
    from opportune.flows.train import train

    i = installation
    say("archiving new events")
    archive_events(i.ledger, i.archive, i.clock, i.owner)
    report = train(
        name,
        as_of,
        ledger=i.ledger,
        offline=i.offline,
        runlog=i.runlog,
        clock=i.clock,
        playbook=i.playbook,
        report=say,
    )
    fetch_champions((name,), i.runlog, i.shelf)
    serve_models((name,), i.shelf, i.feast, set())
    return report
