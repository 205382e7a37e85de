"""The experiments of the active playbook, as the API lists them."""

from typing import Any

from opportune.domain.instants import format_instant
from opportune.experiments.trial import Trial, trials_of, windows_in_words
from opportune.playbook.load import Playbook
from opportune.playbook.values import format_duration
from opportune.ports import Clock, Ledger


def experiments(ledger: Ledger, playbook: Playbook, clock: Clock) -> list[dict[str, Any]]:
    """Declared holdouts and experiments with their status, and how many units each variation has met."""
    now = clock.now()
    with ledger.read() as uow:
        counts = {(row["experiment"], row["variation"]): row for row in uow.exposures.counts()}
    return [
        {
            "name": trial.name,
            "status": trial.status(now),
            "kind": "holdout" if trial.is_holdout else "experiment",
            "description": trial.description,
            "layer": trial.layer,
            "share": list(trial.share),
            "when": trial.audience,
            "goals": {goal: format_duration(window) for goal, window in sorted(trial.windows.items())},
            "summary": windows_in_words(trial),
            "starts_at": format_instant(trial.starts_at) if trial.starts_at else None,
            "ends_at": format_instant(trial.ends_at) if trial.ends_at else None,
            "n_units": sum(row["n_units"] for (name, _), row in counts.items() if name == trial.name),
            "variations": [_variation(trial, arm, counts.get((trial.name, arm))) for arm in trial.shares],
        }
        for trial in trials_of(playbook)
    ]


def _variation(trial: Trial, arm: str, row: Any) -> dict[str, Any]:
    return {
        "name": arm,
        "share": trial.shares[arm],
        "override": dict(trial.overrides[arm]),
        "n_units": row["n_units"] if row else 0,
        "first_at": format_instant(row["first_at"]) if row else None,
        "last_at": format_instant(row["last_at"]) if row else None,
    }
