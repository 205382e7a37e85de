"""Nominate: everything that could be said now, each campaign on each of its channels in one wording."""

from opportune.decision.candidate import Candidate, Option, Sifted
from opportune.decision.chance import pick, uniform
from opportune.decision.rules import rules_of
from opportune.domain.decisions import Case, RankDraw, Reason, Removal, Stage
from opportune.playbook.load import Playbook


def nominate(case: Case, playbook: Playbook) -> Sifted:
    """The campaigns of what fired or was asked for; without a trigger, all of kind request.

    The wording of a campaign is drawn once for all its channels, by the weights of its variants, and logged as a draw
    of rank 0 (`campaign|variant`). A test customer gets the first variant. Removes CHANNEL_NOT_ASKED.
    """
    kept: list[Candidate] = []
    removed: list[Removal] = []
    draws: list[RankDraw] = []
    variants: dict[str, str] = {}
    channels = case.ask.channels
    for option in rules_of(playbook).options(case.ask):
        if channels is not None and option.channel not in channels:
            removed.append(Candidate(option, None).removal(Stage.NOMINATE, Reason.CHANNEL_NOT_ASKED))
            continue
        variant = None
        if option.variants:
            if option.campaign not in variants:
                draw = draw_variant(option, case)
                variants[option.campaign] = draw.chosen.partition("|")[2]
                if len(option.variants) > 1:
                    draws.append(draw)
            variant = variants[option.campaign]
        kept.append(Candidate(option, variant))
    return Sifted(kept, removed, tuple(draws))


def draw_variant(option: Option, case: Case) -> RankDraw:
    """The wording of a campaign in this decision, with the distribution it was drawn from."""
    keys = [f"{option.campaign}|{variant}" for variant in option.variants]
    if case.customer.is_test:
        return RankDraw(rank=0, chosen=keys[0], probabilities={keys[0]: 1.0})
    weights = list(option.weights)
    total = sum(weights)
    drawn = pick(uniform(case.seed, f"variant:{option.campaign}"), weights)
    shares = {key: weight / total for key, weight in zip(keys, weights, strict=True)}
    return RankDraw(rank=0, chosen=keys[drawn], probabilities=shares)
