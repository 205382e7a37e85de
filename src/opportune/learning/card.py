"""The model card: the written part from models/<name>/CARD.md, and below it what this run did and measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opportune.learning.judge import as_text
from opportune.learning.spec import ModelSpec, models_root


def written_part(name: str, root: Path | None = None) -> str:
    """The hand-written card of a model; empty when there is none."""
    path = (root or models_root()) / name / "CARD.md"
    return path.read_text(encoding="utf-8").rstrip() + "\n" if path.is_file() else ""


def write(
    spec: ModelSpec,
    manifest: Mapping[str, Any],
    table: Sequence[Mapping[str, object]],
    gains: Mapping[str, float],
    verdict: str,
    reasons: Sequence[str],
    written: str,
) -> str:
    """The whole card as Markdown. `gains`: share of split gain per feature."""
    window = manifest["data"]
    lines = [
        written or f"# {spec.name}\n\n{spec.purpose}\n",
        "## This version",
        "",
        f"- Target: {spec.target.words} (goal `{spec.target.goal}`, horizon {spec.target.horizon_days} days)",
        f"- Knowledge time (as of): {manifest['as_of']}; trained at {manifest['trained_at']}",
        f"- Data: {window['n_rows']} rows of {window['n_customers']} customers at {len(window['cut_offs'])} cut-offs, "
        f"{window['n_positive']} reached the goal; first event {window['first_event_at']}",
        f"- Population: active within {spec.population.active_within_days} days before the cut-off",
        f"- Kind: {manifest['kind']}"
        + (f", p = {manifest['p']:.4f} for everybody" if manifest["kind"] == "prior" else ""),
        f"- Feature definitions: {manifest['definition_hash']}",
        f"- Verdict: {verdict}" + "".join(f"\n  - {reason}" for reason in reasons),
        "",
        "## Judged on the newest matured cohort, out of time",
        "",
        "```",
        as_text(table),
        "```",
        "",
    ]
    if gains:
        lines += ["## What the trees use (share of gain)", "", "| feature | share |", "|---|---|"]
        lines += [f"| {name} | {share:.3f} |" for name, share in gains.items()]
        lines += [""]
    return "\n".join(lines)
