"""What happens within a visit: given the day's symbol, everything here is independent of the hidden class and mode."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from opportune.domain.instants import DAY_US, EPOCH
from opportune.world.draws import Bools, Draws, Floats, Ints, Stream
from opportune.world.people import People
from opportune.world.rhythms import BROWSE, CART, NOTHING, ORDER, Baseline
from opportune.world.rows import Code, Rows, pack
from opportune.world.shop import MAX_ITEMS, Shop

_DAY_S = 86_400.0
_FIRST_VIEW, _FIRST_ADD = 6, 10
_SLOTS = np.array(
    [Code.DEVICE, Code.PAGE, Code.IDENTIFY, Code.SIGNED_UP, Code.SEARCH, Code.LIST]
    + [Code.VIEW] * MAX_ITEMS
    + [Code.ADD] * MAX_ITEMS
    + [Code.CART, Code.CHECKOUT, Code.ORDER, Code.INVITE],
    np.int64,
)
N_SLOTS = len(_SLOTS)
_CART_SLOT, _CHECKOUT_SLOT, _ORDER_SLOT, _INVITE_SLOT = range(N_SLOTS - 4, N_SLOTS)
_GAP_MEAN_S, _GAP_MIN_S, _GAP_MAX_S = 40.0, 2.0, 300.0


def zone_offsets_s(people: People, day: int) -> Floats:
    """(zones,) offset from UTC in force at noon UTC of a day counted from 1970-01-01, seconds."""
    noon = EPOCH + timedelta(days=day, hours=12)
    away = [datetime.astimezone(noon.astimezone(UTC), ZoneInfo(name)).utcoffset() for name in people.zone_names]
    return np.array([(a or timedelta(0)).total_seconds() for a in away])


def day_of_sessions(day: int, baseline: Baseline, people: People, shop: Shop, draws: Draws) -> Rows:
    """All organic rows of one day of the world, unordered; every one lies within that UTC day."""
    config = people.config
    symbol = baseline.symbols(day).astype(np.int64)
    main = np.flatnonzero(symbol != NOTHING)
    again = main[draws.uniform(Stream.SECOND_SESSION, main, day) < config.p_second_session]
    who = np.concatenate([main, again])
    nth = np.concatenate([np.zeros_like(main), np.ones_like(again)])
    y = np.where(nth == 0, symbol[who], BROWSE)
    start = _starts(day, who, nth, people, draws, zone_offsets_s(people, baseline.first_day + day))

    basket = np.where(y == CART, day, baseline.basket(day)[who])
    fills = (y == CART) | ((y == ORDER) & (basket == day))
    held = shop.baskets(who, np.where(fills | (y == ORDER), basket, day))

    def u(slot: int) -> Floats:
        return draws.uniform(Stream.SLOT, who, day, nth * 64 + slot)

    n_views = np.minimum((u(_FIRST_VIEW) * 5).astype(np.int64), MAX_ITEMS)
    n_views = np.where(fills, np.maximum(n_views, held.n), np.where(y == ORDER, 0, n_views))
    signs = (baseline.sign_up_day[who] == day) & (nth == 0)
    present = np.zeros((len(who), N_SLOTS), np.bool_)
    known = baseline.sign_up_day[who] < day
    second_device = known & people.two_devices[who] & (u(0) < 0.3)
    present[:, 0] = second_device
    present[:, 1] = True
    present[:, 2] = present[:, 3] = signs
    present[:, 4] = u(4) < 0.25
    present[:, 5] = (u(5) < 0.55) & (n_views > 0)
    steps = np.arange(MAX_ITEMS)
    present[:, _FIRST_VIEW : _FIRST_VIEW + MAX_ITEMS] = steps < n_views[:, None]
    present[:, _FIRST_ADD : _FIRST_ADD + MAX_ITEMS] = (steps < held.n[:, None]) & fills[:, None]
    present[:, _CART_SLOT] = ((y == CART) & (u(14) < 0.5)) | ((y == ORDER) & (u(14) < 0.8))
    present[:, _CHECKOUT_SLOT] = ((y == CART) & (u(15) < 0.3)) | (y == ORDER)
    present[:, _ORDER_SLOT] = y == ORDER
    present[:, _INVITE_SLOT] = (y == ORDER) & (u(17) < config.p_referral)

    r, slot = np.nonzero(present)
    us = (baseline.first_day + day) * DAY_US + _times_us(present, start, who, nth, day, draws)[r, slot]
    is_view = (slot >= _FIRST_VIEW) & (slot < _FIRST_ADD)
    is_add = (slot >= _FIRST_ADD) & (slot < _CART_SLOT)
    j = np.where(is_view, slot - _FIRST_VIEW, np.where(is_add, slot - _FIRST_ADD, 0))
    # a view before an add is of the same product: both read the day's basket; the second session looks further
    seen = shop.looks(who[r], np.full(len(r), day), j + 4 * nth[r])
    item = np.where(is_add, held.product[r, j], np.where(is_view | (slot == 4) | (slot == 5), seen, -1))
    n = pack(np.where(is_add, held.quantity[r, j], 0), second_device[r].astype(np.int64))
    holds = is_add | (slot >= _CART_SLOT)
    return Rows(
        us, who[r], _SLOTS[slot], item, n, np.where(holds, basket[r], -1), (day * 2 + nth)[r], slot.astype(np.int64)
    )


def _starts(day: int, who: Ints, nth: Ints, people: People, draws: Draws, offsets_s: Floats) -> Floats:
    """Second of the UTC day at which each session starts, by the customer's local habit."""
    edges = np.cumsum(people.hours, axis=1)[:, :-1][people.hour_type[who]]
    hour = (draws.uniform(Stream.HOUR, who, day, nth)[:, None] >= edges).sum(axis=1)
    local = hour * 3600.0 + draws.uniform(Stream.SECOND, who, day, nth) * 3000.0
    start: Floats = np.minimum((local - offsets_s[people.zone[who]]) % _DAY_S, _DAY_S - 10.0)
    return start


def _times_us(present: Bools, start: Floats, who: Ints, nth: Ints, day: int, draws: Draws) -> Ints:
    """(sessions, slots) microseconds into the day, whole milliseconds; long visits are squeezed to end with the day."""
    where = (nth * 64)[:, None] + np.arange(N_SLOTS)
    gap = (_GAP_MEAN_S * draws.exponential(Stream.GAP, who[:, None], day, where)).clip(_GAP_MIN_S, _GAP_MAX_S)
    after = np.cumsum(gap * present, axis=1)
    room = (_DAY_S - 1.0 - start)[:, None]
    squeezed = after * np.minimum(1.0, room / after[:, -1:])
    us: Ints = ((start[:, None] + squeezed) * 1000).astype(np.int64) * 1000
    return us
