"""opportune explain."""

from typing import Any

import click

from opportune.cli.printing import json_option, result


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


def in_words(decision: dict[str, Any]) -> str:
    """A decision as a person would tell it."""
    lines = [
        f"Decision {decision['decision_id']} for {decision['customer_id']} at {decision['decided_at']}",
        f"  {decision['summary']}",
        f"  mode {decision['mode']}{', degraded' if decision['degraded'] else ''}",
    ]
    for name, score in decision["scores"].items():
        if "p" in score:
            lines.append(f"  {name}: {score['p']:.3f} ({score.get('target', '')}; {score['model']})")
        lines += [f"    {r['text']}" for r in score.get("reasons", [])]
    for m in decision["messages"]:
        lines.append(
            f"  SEND {m['campaign']} by {m['channel']} at {m['send_at']} (probability {m['action_probability']:g})"
        )
        lines += [f"    {k}: {v}" for k, v in m["content"].items()]
    for r in decision["removed"]:
        detail = ", ".join(f"{k} {v}" for k, v in r["detail"].items())
        when = f"; would pass at {r['would_pass_at']}" if r.get("would_pass_at") else ""
        rule = f" [{r['rule']}]" if r.get("rule") else ""
        lines.append(
            f"  not {r['campaign']}/{r['channel'] or '*'}: {r['stage']}: {r['reason']}{rule} {detail}{when}".rstrip()
        )
    return "\n".join(lines)
