"""Hold: a message does not take the place of a better one that is due soon."""

from collections.abc import Sequence

from opportune.decision.candidate import Candidate, Choice, Option, Sifted, Slot
from opportune.decision.caps import Book
from opportune.decision.foresee import Foreseen
from opportune.decision.rules import limits
from opportune.decision.slots import Blocked, earliest_slot
from opportune.decision.zones import calendar_zone, zones_of
from opportune.domain.decisions import Case, Reason, Removal, Stage
from opportune.domain.instants import from_us
from opportune.playbook.load import Playbook


def hold(
    candidates: Sequence[Candidate],
    foreseen: Sequence[Foreseen],
    case: Case,
    playbook: Playbook,
    chosen: Sequence[Choice] = (),
) -> Sifted:
    """Candidates with the slots that leave room for what is foreseen and worth more; without any it is held.

    A slot takes a better message's place when caps let that message go before its expiry without this one, and not
    any more with it. Without a value a candidate ranks below whatever has one, so it is worth less here, too.
    Transactional messages and those that do not count toward caps are never held.
    Removes HELD_FOR_BETTER.
    """
    if not foreseen:
        return Sifted(list(candidates), [])
    ahead = _Ahead(case, playbook, chosen)
    kept: list[Candidate] = []
    removed: list[Removal] = []
    for candidate in candidates:
        option = candidate.option
        if option.is_transactional or not option.counts:
            kept.append(candidate)
            continue
        free: list[int] = []
        by: Foreseen | None = None
        for i, (slot, value) in enumerate(zip(candidate.slots, candidate.values, strict=True)):
            better = (
                f for f in foreseen if f.value_minor > (value or 0) and f.candidate.option.campaign != option.campaign
            )
            taken = next((f for f in better if ahead.is_taken(f, option, slot)), None)
            if taken is None:
                free.append(i)
            by = by or taken
        if len(free) == len(candidate.slots):
            kept.append(candidate)
        elif free:
            left = candidate.placed(tuple(candidate.slots[i] for i in free), candidate.expires_us)
            kept.append(left.valued(tuple(candidate.values[i] for i in free)))
        elif by is not None:
            removed.append(_held(candidate, by))
    return Sifted(kept, removed)


class _Ahead:
    """Whether a foreseen message still finds a slot once another one is sent."""

    def __init__(self, case: Case, playbook: Playbook, chosen: Sequence[Choice]) -> None:
        self._case, self._limits = case, limits(case, playbook)
        self._chosen = [(c.slot.at_us, c.candidate.option) for c in chosen if c.candidate.option.counts]
        self._zones, self._zone = zones_of(case.customer), calendar_zone(case.customer)
        self._free: dict[int, bool] = {}

    def is_taken(self, foreseen: Foreseen, option: Option, slot: Slot) -> bool:
        """True when it has a slot now and would have none after this option at this slot."""
        if id(foreseen) not in self._free:
            self._free[id(foreseen)] = self._goes(foreseen, self._chosen)
        return self._free[id(foreseen)] and not self._goes(foreseen, [*self._chosen, (slot.at_us, option)])

    def _goes(self, foreseen: Foreseen, chosen: Sequence[tuple[int, Option]]) -> bool:
        what = foreseen.candidate
        at = earliest_slot(
            foreseen.due_us, what.expires_us, what.option.quiet, self._zones, what.option.caps,
            Book(self._case.sends, chosen, self._case.account_sends, self._limits), self._zone,
        )  # fmt: skip
        return not isinstance(at, Blocked)


def _held(candidate: Candidate, by: Foreseen) -> Removal:
    best = max((v for v in candidate.values if v is not None), default=None)
    return Removal(
        campaign=candidate.option.campaign,
        channel=candidate.option.channel,
        variant=candidate.variant,
        stage=Stage.HOLD,
        reason=Reason.HELD_FOR_BETTER,
        rule="hold_for_better",
        detail={"by": by.candidate.option.campaign, "limit": by.value_minor, "found": best, "unit": "worth"},
        would_pass_at=from_us(by.due_us),
    )
