"""Place: find each candidate the slots at which it may go, after what is booked and already chosen."""

from collections.abc import Sequence
from datetime import timedelta, tzinfo

from opportune.decision.candidate import Candidate, Choice, Sifted, Slot
from opportune.decision.caps import Book, CapRule
from opportune.decision.hours import HourWeights
from opportune.decision.rules import limits
from opportune.decision.slots import Blocked, earliest_slot, next_hour
from opportune.decision.zones import QuietRule, Zones, calendar_zone, zones_of
from opportune.domain.decisions import Case, Removal, Stage
from opportune.domain.instants import HOUR_US, from_us, to_us
from opportune.playbook.load import Playbook

US = timedelta(microseconds=1)
#: With a grid of send-time weights, no more slots than these.
MAX_SLOTS = 24
#: All that the slots of a candidate depend on beside the customer: deadline in us, quiet hours, the caps that could
#: hold it back, and whether only the earliest slot is looked for.
_Terms = tuple[int, QuietRule | None, tuple[CapRule, ...], bool]


def place(
    candidates: Sequence[Candidate],
    case: Case,
    playbook: Playbook,
    chosen: Sequence[Choice] = (),
    grid: HourWeights | None = None,
) -> Sifted:
    """Candidates with their feasible slots, earliest first; those without any are removed.

    A candidate may go from now until `expires_after` has passed since it fired (for a request: since now), or its
    campaign ends. `chosen` messages count as sent. `grid`: weight of each UTC hour (its start in us -> relative chance,
    1 when missing); null: nothing tells the hours apart, and only the earliest slot is looked for, as for transactional
    messages always.
    Removes QUIET_HOURS, FREQUENCY_CAP, SPACING, EXPIRED.
    """
    if not candidates:
        return Sifted([], [])
    now = to_us(case.now)
    zones, zone = zones_of(case.customer), calendar_zone(case.customer)
    taken = [(c.slot.at_us, c.candidate.option) for c in chosen if c.candidate.option.counts]
    book = Book(case.sends, taken, case.account_sends, limits(case, playbook))
    kept: list[Candidate] = []
    removed: list[Removal] = []
    found: dict[_Terms, tuple[tuple[Slot, ...], Blocked | None]] = {}
    for candidate in candidates:
        option = candidate.option
        deadline = candidate.expires_us or deadline_us(candidate, case, now)
        hours = None if option.is_transactional else grid
        terms = deadline, option.quiet, book.binding(option.caps), hours is None
        if terms not in found:  # many candidates are under the same terms
            found[terms] = _slots(now, terms, zones, book, zone, hours)
        slots, blocked = found[terms]
        if blocked is None:
            kept.append(candidate.placed(slots, deadline))
        else:
            removed.append(_blocked(candidate, blocked))
    return Sifted(kept, removed)


def _slots(
    now: int, terms: _Terms, zones: Zones, book: Book, zone: tzinfo, hours: HourWeights | None
) -> tuple[tuple[Slot, ...], Blocked | None]:
    """The feasible slots under these terms, earliest first, one an hour; without any, what stands in the way."""
    deadline, quiet, caps, _ = terms
    slots: list[Slot] = []
    start = now
    while True:
        at = earliest_slot(start, deadline, quiet, zones, caps, book, zone)
        if isinstance(at, Blocked):
            break
        slots.append(Slot(at) if hours is None else Slot(at, hours.get(at - at % HOUR_US, 1.0)))
        start = next_hour(at)
        if hours is None or len(slots) == MAX_SLOTS or start >= deadline:
            break
    return tuple(slots), at if isinstance(at, Blocked) and not slots else None


def deadline_us(candidate: Candidate, case: Case, now: int) -> int:
    """The instant from which the candidate is too late."""
    firing, spec = case.ask.firing, candidate.option.spec
    deadline = (now if firing is None else to_us(firing.due_at)) + spec.expires_after // US
    return deadline if spec.ends_at is None else min(deadline, to_us(spec.ends_at))


def _blocked(candidate: Candidate, at: Blocked) -> Removal:
    return Removal(
        campaign=candidate.option.campaign,
        channel=candidate.option.channel,
        variant=candidate.variant,
        stage=Stage.PLACE,
        reason=at.reason,
        rule=at.rule,
        detail=at.detail,
        would_pass_at=None if at.passes_us is None else from_us(at.passes_us),
    )
