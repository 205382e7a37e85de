"""Tell a decision as a person would: what was sent, what was not, at which gate, and when it could. Pure."""

from collections.abc import Mapping
from typing import Any


def in_words(decision: Mapping[str, Any]) -> str:
    """A decision in the shape of the API as a few lines."""
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
    lines += [f"  {r['text']}" for r in decision.get("remedies", ())]
    return "\n".join(lines)
