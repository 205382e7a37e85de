"""How customers answer messages: delivery, opens, clicks, extra and skipped orders, fatigue, unsubscribes."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from opportune.domain.instants import DAY_US
from opportune.world.config import CampaignEffect
from opportune.world.draws import Bools, Draws, Floats, Ints, Stream
from opportune.world.people import ADDRESSED, People
from opportune.world.rows import Code, Rows, join, pack, rows_of
from opportune.world.shop import MAX_ITEMS, Shop
from opportune.world.standing import Standing

#: Sessions and baskets that messages cause are numbered from here, away from organic ones.
CAUSED_SID = 1_000_000
CAUSED_BASKET = 1_000_000
_S = 1_000_000
_MS = 1_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one campaign on one channel, at most one a customer. `item`: index of each message's letter."""

    campaign: str
    channel: str
    who: Ints
    us: Ints
    item: Ints
    sid: Ints


@dataclass(frozen=True, slots=True)
class Risk:
    """Probabilities of one message each: an extra order, a skipped one, being opened, an unsubscribe."""

    p_extra: Floats
    p_skip: Floats
    p_open: Floats
    p_unsubscribe: Floats


class Answers:
    """Answers drawn by (customer, day, campaign, channel): the same message meets the same luck under any policy."""

    def __init__(self, people: People, shop: Shop, draws: Draws, first_day: int) -> None:
        self._people, self._shop, self._draws, self._first_day = people, shop, draws, first_day

    def risk(self, batch: Batch, effect: CampaignEffect, standing: Standing, mode_day: int) -> Risk:
        """What each message risks now. `mode_day`: day of the world whose hidden mode counts."""
        config = self._people.config
        who, us, channel = batch.who, batch.us, batch.channel
        reached = standing.reachable(who, channel, us)
        strength = standing.strength(who, effect, channel, us, mode_day)
        tired = standing.fatigue_at(who, us)
        hour = 1 - config.open_hour_share + config.open_hour_share * standing.hour_weight(who, us)
        opens = config.p_open.get(channel, 0.0) * self._people.engagement[who] * hour
        leave = config.p_unsubscribe * effect.annoyance * np.exp(config.fatigue_unsubscribe * tired)
        marked = standing.skip_until[who] >= us // DAY_US - self._first_day
        return Risk(
            p_extra=np.clip(effect.p_order * strength, 0, 1),
            p_skip=np.where(marked, 0.0, np.clip(-effect.p_order * strength, 0, 1)),
            p_open=np.clip(opens * np.exp(-config.fatigue_response * tired), 0, 0.95) * reached,
            p_unsubscribe=np.clip(leave, 0, config.max_unsubscribe) * reached,
        )

    def answer(self, batch: Batch, effect: CampaignEffect, standing: Standing) -> Rows:
        """Rows that follow from the messages (unordered, later than them); fatigue, marks and subscriptions move."""
        who, us, channel = batch.who, batch.us, batch.channel
        day = us // DAY_US - self._first_day
        j = crc32(f"{batch.campaign}/{channel}".encode())

        def u(stream: Stream, k: int = 0) -> Floats:
            return self._draws.uniform(stream, who, day, j + (k << 33))

        risk = self.risk(batch, effect, standing, int(day[0]) if len(day) else 0)
        reached = standing.reachable(who, channel, us)
        luck = u(Stream.ORDER)
        extra, skip = luck < risk.p_extra, luck < risk.p_skip
        opened = (u(Stream.OPEN) < risk.p_open) | extra
        clicked = (opened & (u(Stream.CLICK) < effect.p_click)) | extra
        leaves = (u(Stream.UNSUBSCRIBE) < risk.p_unsubscribe) & ~extra
        opened |= leaves
        complains = leaves & (channel == "email") & (u(Stream.UNSUBSCRIBE, 1) < self._people.config.p_spam)

        came = us + _ms(2 + 40 * u(Stream.DELIVERY))
        looked = came + _ms(30 + np.minimum(-np.log1p(-u(Stream.DELAY)) * 5_400, 72_000))
        parts = [
            self._mark(batch, reached, came, Code.DELIVERED, 0),
            self._mark(batch, opened, looked, Code.OPENED, 1),
            self._mark(batch, clicked, looked + 15 * _S, Code.CLICKED, 2),
            self._mark(batch, leaves, looked + 25 * _S, Code.UNSUBSCRIBED, 3),
            self._mark(batch, complains, looked + 26 * _S, Code.SPAM, 4),
            self._caused(batch, extra, looked + 20 * _S, standing, j),
        ]
        if channel in ADDRESSED:
            people = self._people
            bounces = (
                people.has_address[channel][who] & people.bad_address[channel][who] & (standing.signed_up_us[who] <= us)
            )
            parts.append(self._mark(batch, bounces, came, Code.BOUNCED, 5))

        gone = standing.unsubscribed_us[channel]
        gone[who[leaves]] = np.minimum(gone[who[leaves]], looked[leaves] + 25 * _S)
        standing.skip_from[who[skip]] = day[skip] + 1
        standing.skip_until[who[skip]] = day[skip] + effect.skip_days
        left = standing.fatigue_at(who[reached], us[reached])
        standing.fatigue[who[reached]] = left + effect.annoyance
        standing.fatigue_us[who[reached]] = us[reached]
        return join(parts)

    def _mark(self, batch: Batch, where: Bools, us: Ints, code: Code, slot: int) -> Rows:
        return rows_of(us[where], batch.who[where], code, item=batch.item[where], sid=batch.sid[where], slot=slot)

    def _caused(self, batch: Batch, where: Bools, us: Ints, standing: Standing, j: int) -> Rows:
        """The visit of an extra order: it buys the open cart, or else a basket of its own."""
        who, us, sid = batch.who[where], us[where], batch.sid[where]
        day = us // DAY_US - self._first_day
        is_open = standing.open_cart(who, batch.us[where])
        basket = np.where(is_open, standing.cart_basket[who], CAUSED_BASKET + day * 64 + j % 64)
        held = self._shop.baskets(who, basket)
        parts = [rows_of(us, who, Code.PAGE, sid=sid, slot=10)]
        for k in range(MAX_ITEMS):
            at = ~is_open & (k < held.n)
            at_us, item, n = (
                us[at] + (30 + 20 * k) * _S,
                held.product[at, k],
                pack(held.quantity[at, k], np.zeros(int(at.sum()), np.int64)),
            )
            common = {"sid": sid[at], "item": item}
            parts.append(rows_of(at_us, who[at], Code.VIEW, slot=11 + 2 * k, **common))
            parts.append(rows_of(at_us + 8 * _S, who[at], Code.ADD, slot=12 + 2 * k, n=n, basket=basket[at], **common))
        parts.append(rows_of(us + 120 * _S, who, Code.CHECKOUT, sid=sid, slot=30, basket=basket))
        parts.append(rows_of(us + 180 * _S, who, Code.ORDER, sid=sid, slot=31, basket=basket))
        return join(parts)


def _ms(seconds: Floats) -> Ints:
    """Seconds as microseconds of whole milliseconds."""
    us: Ints = (seconds * 1_000).astype(np.int64) * _MS
    return us
