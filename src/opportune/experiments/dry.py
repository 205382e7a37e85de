"""Two playbooks over the same history, side by side: what each would have sent, to whom, what it held back. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opportune.domain.decisions import Decision, Reason
from opportune.domain.messages import SendState
from opportune.experiments.report import ReachTally

#: Figure -> what it counts.
DEFINITIONS: Mapping[str, str] = {
    "messages": "sent, or answered to a caller (silence counts as sent); by campaign and channel",
    "withheld": "would have gone, kept back by a holdout",
    "people": "customers who heard at least one message",
    "expected value": "sum of the values for which messages were chosen, in minor units; those without one left out",
    "caps hit": "candidates that a rule of the caps held back for good, by rule",
    "held": "chances (a campaign considered in a decision) that led to no message, by reason",
}


@dataclass(slots=True)
class DryTally:
    """What one playbook did. One line per campaign and channel; the set of people grows with their number."""

    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    people: set[str] = field(default_factory=set)
    caps: Counter[str] = field(default_factory=Counter)
    reach: ReachTally = field(default_factory=ReachTally)
    n_decisions: int = 0
    n_withheld: int = 0
    value_minor: int = 0

    def add(self, decision: Decision, states: Mapping[str, SendState], released: Mapping[str, Reason | None]) -> None:
        """Count one decision. `states`: of its messages at the end; `released`: those let go after all, and why."""
        self.n_decisions += 1
        self.reach.add(decision, released)
        self.caps.update(
            r.rule for r in decision.removed if r.rule and r.reason in (Reason.FREQUENCY_CAP, Reason.SPACING)
        )
        for message in decision.messages:
            if message.is_virtual:
                self.n_withheld += 1
            elif states.get(message.message_id) is not SendState.RELEASED:
                self.messages[message.campaign, message.channel] += 1
                self.people.add(decision.customer_id)
                self.value_minor += message.value_minor or 0

    @property
    def held(self) -> Counter[str]:
        """Reason in words -> chances it cost, over all campaigns."""
        total: Counter[str] = Counter()
        for lost in self.reach.lost.values():
            total.update(lost)
        return total


def compare(active: DryTally, new: DryTally) -> dict[str, Any]:
    """Both beside each other as rows of (name, active, new): JSON-ready."""

    def pairs(a: Mapping[Any, int], b: Mapping[Any, int]) -> list[dict[str, Any]]:
        return [
            {"name": " by ".join(key) if isinstance(key, tuple) else key, "active": a.get(key, 0), "new": b.get(key, 0)}
            for key in sorted({*a, *b})
        ]

    totals = [
        ("decisions", active.n_decisions, new.n_decisions),
        ("messages", sum(active.messages.values()), sum(new.messages.values())),
        ("people", len(active.people), len(new.people)),
        ("withheld", active.n_withheld, new.n_withheld),
        ("expected value", active.value_minor, new.value_minor),
    ]
    return {
        "totals": [{"name": name, "active": a, "new": b} for name, a, b in totals],
        "messages": pairs(active.messages, new.messages),
        "caps hit": pairs(active.caps, new.caps),
        "held": pairs(active.held, new.held),
        "definitions": dict(DEFINITIONS),
    }


def to_words(found: Mapping[str, Any], title: str, markdown: bool) -> str:
    """The comparison as one table of text or Markdown, its definitions below."""
    rows: list[Sequence[str]] = []
    for part in ("totals", "messages", "caps hit", "held"):
        if part != "totals" and found[part]:
            rows.append((f"{part}:", "", "", ""))
        for row in found[part]:
            rows.append((row["name"], f"{row['active']:,}", f"{row['new']:,}", f"{row['new'] - row['active']:+,}"))
    head = ("", "active", "new", "difference")
    notes = [f"{name}: {text}" for name, text in found["definitions"].items()]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in (head, ("---", "---:", "---:", "---:"), *rows)]
        return "\n".join([title, "", *lines, "", *(f"- {note}" for note in notes)])
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]
    lines = [
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([title, "", *lines, "", *notes])
