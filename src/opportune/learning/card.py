"""The model card: the written part from models/<name>/CARD.md, and below it what this run did and measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opportune.learning.judge import as_text
from opportune.learning.spec import AnySpec, ModelSpec, models_root


def written_part(name: str, root: Path | None = None) -> str:
    """The hand-written card of a model; empty when there is none."""
    path = (root or models_root()) / name / "CARD.md"
    return path.read_text(encoding="utf-8").rstrip() + "\n" if path.is_file() else ""


def _about(spec: AnySpec) -> list[str]:
    """What is predicted, and of whom."""
    if not isinstance(spec, ModelSpec):
        random = ", ".join(f"{name} ({n} hours)" for name, n in spec.random_hours.items()) or "none declared"
        return [f"- Target: {spec.target.words}", f"- Campaigns of random hours: {random}, and what was explored"]
    return [
        f"- Target: {spec.target.words} ({_event_of(spec)}, horizon {spec.target.horizon_days} days)",
        f"- Population: active within {spec.population.active_within_days} days before the cut-off",
    ]


def _event_of(spec: ModelSpec) -> str:
    event = f"goal `{spec.target.goal}`" if spec.target.goal is not None else "any activity of the playbook"
    return event if spec.target.happens else f"none of: {event}"


def write(
    spec: AnySpec,
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
        *_about(spec),
        f"- Knowledge time (as of): {manifest['as_of']}; trained at {manifest['trained_at']}",
        f"- Data: {window['n_rows']} rows of {window['n_customers']} customers at {len(window['cut_offs'])} cut-offs, "
        f"{window['n_positive']} reached it; first event {window['first_event_at']}",
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
