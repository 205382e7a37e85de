"""Features of kept operations: carts, letters, gaps, favourites, sessions, and what was said last."""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from opportune.features import ops as kept
from opportune.features.declare import Feature, Stat
from opportune.features.gather import OPS_AT, Op
from opportune.features.reader import Finish, Reader, age_days, shared
from opportune.features.taps import TAP_BY_NAME
from opportune.features.windows import old_edge, width_us


def _inside(tap: str) -> Callable[[Reader], list[Op]]:
    """The kept operations of a tap that its window still reaches."""
    keeps, at = TAP_BY_NAME[tap].keeps, OPS_AT[tap]
    width = width_us(keeps.window) if keeps is not None and keeps.window else 0
    if not width:
        return lambda r: r.state.ops[at]

    def inside(r: Reader) -> list[Op]:
        ops = r.state.ops[at]
        edge = old_edge(r.at_us, width)
        return ops if not ops or ops[0][0] > edge else ops[bisect_right(ops, edge, key=_instant) :]

    return inside


def _instant(op: Op) -> int:
    us: int = op[0]
    return us


def part_at(tap: str, part: str | None) -> int:
    """The place of a part in an operation of a tap; 0 when none is named. Raises ValueError for an unknown one."""
    keeps = TAP_BY_NAME[tap].keeps
    names = [p.name for p in keeps.parts] if keeps else []
    if part is not None and part not in names:
        raise ValueError(f"the tap {tap} keeps {', '.join(names) or 'nothing'}, not {part}")
    return 0 if part is None else 1 + names.index(part)


def of_ops(feature: Feature) -> Finish:
    """The function of a feature that is made of kept operations."""
    stat, tap = feature.stat, feature.tap
    ops = shared((tap, "inside"), _inside(tap))
    at = part_at(tap, feature.part)
    match stat:
        case Stat.CART_ITEMS | Stat.CART_VALUE | Stat.CART_PRODUCTS:
            whole = shared((tap, "cart"), lambda r: kept.cart(ops(r)))
            if stat is Stat.CART_VALUE:
                return lambda r: whole(r)[1] / 100
            place = 0 if stat is Stat.CART_ITEMS else 2
            return lambda r: whole(r)[place]
        case Stat.LETTERS_SENT | Stat.LETTERS_OPENED:
            both, which = shared((tap, "letters"), lambda r: kept.letters(ops(r))), int(stat is Stat.LETTERS_OPENED)
            return lambda r: both(r)[which]
        case Stat.LEAST | Stat.MOST:
            pick = min if stat is Stat.LEAST else max
            return lambda r: pick(told) / 100 if (told := [op[at] for op in ops(r) if op[at] >= 0]) else None
        case Stat.GAP_MEDIAN | Stat.GAP_VARIATION:
            told = shared((tap, "gaps"), lambda r: kept.gaps([op[0] for op in ops(r)]))
            which = 1 if stat is Stat.GAP_MEDIAN else 2
            return lambda r: told(r)[which]
        case Stat.SESSIONS:
            width = width_us(feature.window) if feature.window else 0
            return lambda r: kept.sessions_after(ops(r), old_edge(r.at_us, width))
        case Stat.SESSION_EVENTS | Stat.SESSION_MINUTES | Stat.SESSION_DEPTH:
            which = (Stat.SESSION_EVENTS, Stat.SESSION_MINUTES, Stat.SESSION_DEPTH).index(stat)
            depth = part_at(tap, "depth")
            now = shared((tap, "session"), lambda r: kept.session(ops(r), r.at_us, depth))
            return lambda r: now(r)[which]
        case Stat.NEWEST | Stat.NEWEST_AGE | Stat.IS_OUT:
            return _of_newest(feature, at)
        case _:
            return _of_favourites(feature, ops, at)


def _of_newest(feature: Feature, at: int) -> Finish:
    places = [OPS_AT[tap] for tap in (feature.tap, feature.than) if tap]
    if feature.stat is Stat.IS_OUT:
        return lambda r: any(ops[-1][at] == 1 for place in places if (ops := r.state.ops[place]))

    def newest(r: Reader) -> Any:
        for place in places:
            if ops := r.state.ops[place]:
                value = ops[-1][at]
                return None if value == "" or value == -1 else value
        return None

    if feature.stat is Stat.NEWEST_AGE:
        return lambda r: None if (us := newest(r)) is None else age_days(us, r.at_us)
    if feature.dtype == "float":
        return lambda r: None if (value := newest(r)) is None else float(value)
    return newest


def _of_favourites(feature: Feature, ops: Finish, at: int) -> Finish:
    counts = shared((feature.tap, at, "met"), lambda r: kept.met(ops(r), at))
    met = shared((feature.tap, at, "favourites"), lambda r: kept.favourites(counts(r)))
    match feature.stat:
        case Stat.TOP:
            return lambda r: found[0][0] if (found := met(r)) else None
        case Stat.TOPS:
            return lambda r: ", ".join(text for text, _ in met(r)[:3]) or None
        case Stat.TOP_SHARE:
            return lambda r: found[0][1] / sum(n for _, n in found) if (found := met(r)) else None
        case Stat.DISTINCT:
            return lambda r: len(counts(r))
        case _:
            which = (Stat.TOP_GAP_MEAN, Stat.TOP_GAP_MEDIAN, Stat.TOP_GAP_VARIATION).index(feature.stat)
            told = shared(
                (feature.tap, at, "gaps"),
                lambda r: kept.gaps(kept.holding(ops(r), at, found[0][0])) if (found := met(r)) else (None,) * 3,
            )
            return lambda r: told(r)[which]
