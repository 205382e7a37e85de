"""A trial: an experiment or a holdout in one shape, as it is counted, listed and published. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from opportune.domain.experiments import GLOBAL_HOLDOUT, HELD, OPEN, campaign_holdout
from opportune.experiments.assign import shares
from opportune.playbook.load import Playbook
from opportune.playbook.values import format_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`shares`: variation -> declared share of those who take part. `windows`: goal -> how long it counts.

    `overrides`: variation -> dotted path -> value; a holdout has none.
    """

    name: str
    description: str
    is_holdout: bool
    shares: Mapping[str, float]
    overrides: Mapping[str, Mapping[str, Any]]
    windows: Mapping[str, timedelta]
    share: tuple[float, float] = (0.0, 1.0)
    layer: str | None = None
    audience: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def status(self, now: datetime) -> str:
        """`scheduled`, `running`, or `finished`."""
        if self.starts_at is not None and now < self.starts_at:
            return "scheduled"
        return "finished" if self.ends_at is not None and now >= self.ends_at else "running"

    @property
    def settled_at(self) -> datetime | None:
        """When the last goal can count; null when the trial has no end."""
        longest = max(self.windows.values(), default=timedelta(0))
        return None if self.ends_at is None else self.ends_at + longest


def trials_of(playbook: Playbook) -> list[Trial]:
    """Every holdout and experiment of a playbook: the holdouts first, then by name."""
    spec = playbook.spec
    horizons = {name: goal.horizon for name, goal in spec.goals.items()}
    found: list[Trial] = []
    if spec.holdout.share > 0:
        found.append(_holdout(GLOBAL_HOLDOUT, "hears nothing but transactional messages", spec.holdout.share, horizons))
    for name, campaign in sorted(spec.campaigns.items()):
        if campaign.holdout > 0:
            told, wanted = f"never hears campaign {name}", [campaign.goal] if campaign.goal else list(horizons)
            windows = {goal: horizons[goal] for goal in wanted}
            found.append(_holdout(campaign_holdout(name), told, campaign.holdout, windows))
    for name, experiment in sorted(spec.experiments.items()):
        goals = [experiment.goal] if experiment.goal else list(horizons)
        found.append(
            Trial(
                name=name,
                description=experiment.description,
                is_holdout=False,
                shares=shares(experiment),
                overrides={arm: v.override for arm, v in sorted(experiment.variations.items())},
                windows={goal: experiment.window or horizons[goal] for goal in goals},
                share=experiment.share,
                layer=experiment.layer,
                audience=experiment.when,
                starts_at=experiment.starts_at,
                ends_at=experiment.ends_at,
            )
        )
    return found


def _holdout(name: str, told: str, share: float, windows: Mapping[str, timedelta]) -> Trial:
    return Trial(
        name=name,
        description=f"{share:.2%} of customers {told}; what would have gone is decided, logged and counted.",
        is_holdout=True,
        shares={HELD: share, OPEN: 1 - share},
        overrides={HELD: {}, OPEN: {}},
        windows=windows,
    )


def windows_in_words(trial: Trial) -> str:
    """`order within 30d, sign_up within 7d`."""
    return ", ".join(f"{goal} within {format_duration(w)}" for goal, w in sorted(trial.windows.items())) or "none"
