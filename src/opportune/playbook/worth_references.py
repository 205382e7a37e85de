"""What the blocks about worth cannot know alone: campaigns, topics, tags and features they name."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from opportune.playbook.conditions import Names
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint
from opportune.playbook.schema import PlaybookSpec
from opportune.playbook.trigger_references import unknown

#: path, message
Found = tuple[Path, str]


def fault_of_feature(path: Path, text: str, names: Names | None) -> str | None:
    """What is wrong with a feature that a channel names; null when nothing is, or the text is none."""
    if path[-1] not in ("sent", "engaged") or names is None:
        return None
    name = text.removeprefix("features.")
    if name == text:
        return f"`{text}` is not a feature: write it like features.sends_n_30d"
    if name not in names.features:
        return f"unknown feature `{name}`" + hint(name, names.features)
    if names.features[name] not in ("int", "float"):
        return f"feature `{name}` is no number: name one that counts messages"
    return None


def errors_in_worth(
    spec: PlaybookSpec, declared: Mapping[str, Mapping[str, Any]], tags: Collection[str]
) -> Iterator[Found]:
    """Names that do not exist."""
    for section, blocks in (("levers", spec.levers), ("budgets", spec.budgets)):
        for name, block in blocks.items():
            for field, known in (("campaign", declared["campaigns"]), ("topic", declared["topics"]), ("tag", tags)):
                wanted = getattr(block, field)
                if wanted is not None and wanted not in known:
                    yield (section, name, field), unknown(field, wanted, known)


def warnings_in_worth(spec: PlaybookSpec) -> Iterator[Found]:
    """What works but is probably not meant."""
    valued = [c for c in spec.campaigns.values() if c.goal or c.value_minor is not None]
    if not valued:
        for section, blocks in (("levers", spec.levers), ("fatigue", spec.fatigue)):
            if blocks:
                yield (section,), "no campaign has a value: there is nothing to weigh this against"
    for name, budget in spec.budgets.items():
        meant = [
            (campaign, channel)
            for key, campaign in spec.campaigns.items()
            for channel in campaign.channels
            if budget.means(key, channel, campaign.topic, campaign.tags)
        ]
        if not meant:
            yield ("budgets", name), "no campaign uses this budget"
        elif budget.at_most_minor is not None and not any(
            campaign.cost_minor or (channel in spec.channels and spec.channels[channel].cost_minor)
            for campaign, channel in meant
        ):
            yield ("budgets", name), "a budget of money for messages that cost nothing: give them a `cost_minor`"
    for name, campaign in spec.campaigns.items():
        if campaign.prior_weight is not None and not (campaign.holdout or spec.holdout.share):
            yield (
                ("campaigns", name, "prior_weight"),
                "nobody is held out, so nothing shows what would have happened without it: give it a `holdout`",
            )
