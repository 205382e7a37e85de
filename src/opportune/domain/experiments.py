"""Names of the experiments that are of our own making: the holdouts."""

#: The holdout as an experiment: `holdout` hears nothing but transactional messages, `open` is everybody else.
GLOBAL_HOLDOUT = "global_holdout"
HELD, OPEN = "holdout", "open"
_CAMPAIGN_HOLDOUT = "holdout."


def campaign_holdout(campaign: str) -> str:
    """The name of a campaign's own holdout as an experiment; no declared experiment can have it (names have no dot)."""
    return f"{_CAMPAIGN_HOLDOUT}{campaign}"


def campaign_of(experiment: str) -> str | None:
    """The campaign whose holdout this is; null for any other experiment."""
    return experiment.removeprefix(_CAMPAIGN_HOLDOUT) if experiment.startswith(_CAMPAIGN_HOLDOUT) else None
