"""Choose: take one action for one rank, by rule or, at the declared rate, by chance that is logged."""

from collections.abc import Sequence

from opportune.decision.candidate import Candidate, Choice, Sifted, Slot
from opportune.decision.chance import pick, uniform
from opportune.decision.rules import explores, ranks
from opportune.domain.decisions import Case, RankDraw, Reason, Removal, Stage
from opportune.domain.instants import from_us
from opportune.playbook.load import Playbook
from opportune.playbook.schema import Exploration

NOTHING = "nothing"
_Action = tuple[Candidate, Slot, int | None]


def choose(candidates: Sequence[Candidate], rank: int, case: Case, playbook: Playbook) -> tuple[Choice | None, Sifted]:
    """The action taken at this rank (null: nothing more is sent), and what is left for the next one.

    `candidates` come best first. The best is taken at its best slot. With exploration (never for a test customer,
    never while a transactional message waits) one draw decides: with probability `rate` uniform over every feasible
    (candidate, slot) and nothing, else the best candidate: with probability `hours` at any of its slots, else its best;
    and none of these actions is less likely than `floor` (than an even share, where there are too many for that).
    A campaign speaks once: its other channels are out; on the last rank, or when nothing is taken, everyone is. A loser
    that stood before what was drawn is NOT_DRAWN, the others are OUTRANKED.
    """
    if not candidates:
        return None, Sifted([], [], (RankDraw(rank=rank, chosen=NOTHING, probabilities={NOTHING: 1.0}),))
    slot_probability = None
    if explores(case, playbook) and not candidates[0].option.is_transactional:
        action, probability, draw = _explore(candidates, rank, playbook.spec.exploration, case)
        slot_probability = None if action is None else _slot_probability(action[0], probability, draw)
    else:
        action, probability = _best(candidates[0]), 1.0
        key = _key(action)
        draw = RankDraw(rank=rank, chosen=key, probabilities={key: 1.0})
    if action is None:
        return None, Sifted([], [c.removal(Stage.CHOOSE, Reason.NOT_DRAWN) for c in candidates], (draw,))
    taken, slot, value = action
    kept: list[Candidate] = []
    removed: list[Removal] = []
    is_last, has_passed = rank >= len(ranks(case, playbook)), False
    for candidate in candidates:
        if candidate is taken:
            has_passed = True
        elif is_last or candidate.option.campaign == taken.option.campaign:
            reason = Reason.OUTRANKED if has_passed else Reason.NOT_DRAWN
            removed.append(_lost(candidate, reason, taken))
        else:
            kept.append(candidate)
    return Choice(rank, taken, slot, value, probability, slot_probability=slot_probability), Sifted(
        kept, removed, (draw,)
    )


def _best(candidate: Candidate) -> _Action:
    """The candidate at its most valuable slot, the earliest among equals."""
    if len(candidate.slots) == 1:
        return candidate, candidate.slots[0], candidate.values[0]
    at = max(range(len(candidate.slots)), key=lambda i: (candidate.values[i] or 0, candidate.slots[i].weight, -i))
    return candidate, candidate.slots[at], candidate.values[at]


def _explore(
    candidates: Sequence[Candidate], rank: int, exploration: Exploration, case: Case
) -> tuple[_Action | None, float, RankDraw]:
    """One draw from `rate` x uniform(actions and nothing) + (1 - rate) x (`hours` x uniform(slots of the best) +
    (1 - `hours`) x its best slot), lifted to `floor`; the whole distribution is logged, actions that cannot be drawn
    left out."""
    rate, first = exploration.rate, candidates[0]
    best = _best(first)
    tries_all = rate > 0 or exploration.floor > 0
    everyone = candidates if tries_all else candidates[:1]
    actions: list[_Action | None] = [
        (c, slot, value) for c in everyone for slot, value in zip(c.slots, c.values, strict=True)
    ]
    if tries_all:
        actions.append(None)
    elsewhere = (1.0 - rate) * exploration.hours / len(first.slots)
    weights = [rate / len(actions) + (elsewhere if a is not None and a[0] is first else 0.0) for a in actions]
    weights[actions.index(best)] += (1.0 - rate) * (1.0 - exploration.hours)
    if exploration.floor > 0:
        floor = min(exploration.floor, 1.0 / len(actions))
        weights = [floor + (1.0 - floor * len(actions)) * weight for weight in weights]
    drawable = [i for i, weight in enumerate(weights) if weight > 0]
    actions, weights = [actions[i] for i in drawable], [weights[i] for i in drawable]
    keys = [_key(action) for action in actions]
    at = pick(uniform(case.seed, f"rank:{rank}"), weights)
    draw = RankDraw(rank=rank, chosen=keys[at], probabilities=dict(zip(keys, weights, strict=True)))
    return actions[at], weights[at], draw


def _slot_probability(candidate: Candidate, probability: float, draw: RankDraw) -> float | None:
    """The drawn slot's share among all slots of its candidate; null when there was no other."""
    mine = [
        draw.probabilities[key] for s in candidate.slots if (key := _key((candidate, s, None))) in draw.probabilities
    ]
    return probability / sum(mine) if len(mine) > 1 else None


def _key(action: _Action | None) -> str:
    """`campaign|channel|variant|slot`; the variant is empty when there is only one wording."""
    if action is None:
        return NOTHING
    candidate, slot, _ = action
    option = candidate.option
    return f"{option.campaign}|{option.channel}|{candidate.variant or ''}|{from_us(slot.at_us).isoformat()}"


def _lost(candidate: Candidate, reason: Reason, taken: Candidate) -> Removal:
    """A loser, and the campaign it lost to."""
    return Removal(
        campaign=candidate.option.campaign,
        channel=candidate.option.channel,
        variant=candidate.variant,
        stage=Stage.CHOOSE,
        reason=reason,
        detail={"by": taken.option.campaign},
    )
