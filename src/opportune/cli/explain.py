"""opportune explain."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from opportune.cli.printing import instant, json_option, result
from opportune.flows.tell import in_words

if TYPE_CHECKING:
    from datetime import datetime

    from opportune.flows.explain import Assumed
    from opportune.wiring import Installation


@click.command(
    "explain",
    epilog="Example:  opportune explain --customer c42 --campaign cart_reminder --at 2026-11-01T10:00:00Z",
)
@click.argument("decision_id", required=False)
@click.option(
    "--replay", "again", is_flag=True, help="Decide the stored case again and say whether the answer is the same."
)
@click.option("--customer", default=None, help="Any customer, decided or not; with --campaign.")
@click.option("--campaign", default=None, help="Why did it reach the customer, or why not?")
@click.option("--channel", default=None, help="By this channel. Default: any.")
@click.option("--at", "at_text", default=None, help="The moment, from what was known then. Default: now.")
@click.option("--trait", "traits", multiple=True, help="What if: a trait, like plan=gold (JSON values are read).")
@click.option("--event", "events", multiple=True, help='What if: an event, like \'{"event": "Product Viewed"}\'.')
@click.option("--context", "context", multiple=True, help="What a caller would give, like cart_value=80.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, decision_id: str | None, again: bool, customer: str | None, campaign: str | None,
    channel: str | None, at_text: str | None, traits: tuple[str, ...], events: tuple[str, ...],
    context: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Why did she get this, why did he not? A stored decision, or any customer, campaign and past moment.

    Every gate with its limit and what met it, and for what was not sent the smallest change that would have sent it.
    Nothing is reserved or stored.
    """
    from opportune.wiring import Installation

    if (decision_id is None) == (customer is None or campaign is None):
        raise click.UsageError("name a decision, or --customer and --campaign")
    installation = Installation()
    if decision_id is not None:
        _stored(ctx, decision_id, again, as_json, installation)
        return
    from opportune.flows.explain import explain_moment, moment_in_words

    now = installation.clock.now()
    at = instant(at_text, "--at", now) or now
    found = explain_moment(
        str(customer),
        str(campaign),
        at,
        installation.desk,
        channel=channel,
        context=_pairs(context, "--context"),
        assumed=_assumed(str(customer), traits, events, at),
    )
    result(found, moment_in_words(found), as_json)


def _stored(ctx: click.Context, decision_id: str, again: bool, as_json: bool, installation: "Installation") -> None:
    from opportune.flows.lookup import replay, stored

    decision = stored(decision_id, installation.ledger, explain=True)
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


def _pairs(given: tuple[str, ...], option: str) -> dict[str, Any]:
    """`name=value` options; a value that is JSON is read as such, else it is text."""
    import orjson

    found: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"'{one}' is no pair: write it like plan=gold", param_hint=option)
        try:
            found[name] = orjson.loads(value)
        except ValueError:
            found[name] = value
    return found


def _assumed(customer: str, traits: tuple[str, ...], events: tuple[str, ...], at: "datetime") -> "Assumed":
    import orjson

    from opportune.domain.envelopes import Reading, read_envelope
    from opportune.domain.events import Origin
    from opportune.domain.refusals import Refused
    from opportune.flows.explain import Assumed

    found = []
    for number, text in enumerate(events):
        reading = Reading(
            received_at=at, origin=Origin.LIVE, new_id=partial("assumed-{}".format, number), retention=None
        )
        try:
            item = orjson.loads(text)
            base = {"type": "track", "userId": customer, "timestamp": at.isoformat()}
            found.append(read_envelope({**base, **item} if isinstance(item, dict) else item, reading))
        except (ValueError, Refused) as problem:
            said = problem.message if isinstance(problem, Refused) else f"not JSON: {problem}"
            raise click.BadParameter(f"{text}: {said}", param_hint="--event") from None
    return Assumed(events=found, traits=_pairs(traits, "--trait"))
