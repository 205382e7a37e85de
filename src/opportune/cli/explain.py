"""opportune explain."""

import click

from opportune.cli.printing import json_option, result
from opportune.flows.tell import in_words


@click.command("explain", epilog="Example:  opportune explain d-0f3a... --replay")
@click.argument("decision_id")
@click.option(
    "--replay", "again", is_flag=True, help="Decide the stored case again and say whether the answer is the same."
)
@json_option
@click.pass_context
def command(ctx: click.Context, decision_id: str, again: bool, as_json: bool) -> None:
    """A past decision in words: what was sent, and for each that was not, at which gate and when it could."""
    from opportune.flows.lookup import replay, stored
    from opportune.wiring import Installation

    installation = Installation()
    decision = stored(decision_id, installation.ledger, explain=as_json)
    if decision is None:
        raise click.ClickException(
            f"no decision {decision_id} in the log: ids are in the answers and in `opportune events decisions`"
        )
    words = in_words(decision)
    if again:
        replayed = replay(decision_id, installation.ledger)
        same = replayed is not None and replayed.is_same
        decision["replays_to_the_same"] = same
        words += "\n\nReplay: " + ("the same answer." if same else "A DIFFERENT ANSWER.")
        result(decision, words, as_json)
        ctx.exit(0 if same else 1)
    result(decision, words, as_json)
