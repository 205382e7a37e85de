"""Where each customer stands now: carts, sign-up, subscriptions and fatigue, as the run has shown so far."""

import copy

import numpy as np

from opportune.domain.instants import DAY_US, HOUR_US
from opportune.world.config import CampaignEffect
from opportune.world.draws import Bools, Floats, Ints
from opportune.world.people import ADDRESSED, People
from opportune.world.rhythms import IDLE, LAPSED, Baseline
from opportune.world.rows import Code, Rows
from opportune.world.sessions import zone_offsets_s

NEVER = np.iinfo(np.int64).min // 4
ALWAYS = np.iinfo(np.int64).max


class Standing:
    """Columns of length n. Instants are microseconds; NEVER before anything has happened, ALWAYS for never again."""

    def __init__(self, people: People, baseline: Baseline) -> None:
        self._people, self._baseline = people, baseline
        n = people.n
        self.signed_up_us = np.full(n, ALWAYS, np.int64)
        self.view_us, self.order_us = np.full(n, NEVER, np.int64), np.full(n, NEVER, np.int64)
        self.cart_us, self.cart_basket = np.full(n, NEVER, np.int64), np.full(n, -1, np.int64)
        self.unsubscribed_us = {c: np.full(n, ALWAYS, np.int64) for c in (*ADDRESSED, "inapp", "onsite")}
        self.fatigue, self.fatigue_us = np.zeros(n), np.zeros(n, np.int64)
        #: the next organic order on the days skip_from <= day <= skip_until will not happen
        self.skip_from, self.skip_until = np.full(n, ALWAYS, np.int64), np.full(n, -1, np.int64)
        self._offsets: dict[int, Floats] = {}

    def fork(self) -> "Standing":
        """An independent copy; people and baseline are shared, for they never depend on messages."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(other, name, value.copy())
        other.unsubscribed_us = {c: v.copy() for c, v in self.unsubscribed_us.items()}
        return other

    def observe(self, rows: Rows) -> None:
        """Take note of rows in time order."""
        for code, column in ((Code.VIEW, self.view_us), (Code.ORDER, self.order_us)):
            at = rows.code == code
            np.maximum.at(column, rows.who[at], rows.us[at])
        at = rows.code == Code.ADD
        self.cart_us[rows.who[at]] = rows.us[at]  # numpy keeps the last of repeated rows
        self.cart_basket[rows.who[at]] = rows.basket[at]

    def open_cart(self, who: Ints, us: Ints) -> Bools:
        """Whether each has a cart filled in the last `cart_days` and not ordered since."""
        cart = self.cart_us[who]
        return (cart > self.order_us[who]) & (us - cart <= self._people.config.cart_days * DAY_US)

    def consents(self, who: Ints, channel: str, us: Ints, default_in: bool) -> Bools:
        """Whether marketing is allowed by what the customer said; `default_in` where nothing was said."""
        said = self.signed_up_us[who] <= us
        base = self._people.opts_in[channel][who] if channel in ADDRESSED else np.full(who.shape, default_in)
        return np.where(said, base, default_in) & (us < self.unsubscribed_us[channel][who])

    def fatigue_at(self, who: Ints, us: Ints) -> Floats:
        """Weight of recent messages: each adds its annoyance, which decays with `fatigue_days`."""
        age_days = np.maximum(us - self.fatigue_us[who], 0) / DAY_US
        tired: Floats = self.fatigue[who] * np.exp(-age_days / self._people.config.fatigue_days)
        return tired

    def local_hour(self, who: Ints, us: Ints) -> Ints:
        """True local hour 0-23, with the offset in force at noon UTC of that day."""
        day = us // DAY_US
        offset = np.empty(len(who))
        for d in np.unique(day).tolist():
            if d not in self._offsets:
                self._offsets[d] = zone_offsets_s(self._people, d)
            at = day == d
            offset[at] = self._offsets[d][self._people.zone[who[at]]]
        return ((us + (offset * 1e6).astype(np.int64)) // HOUR_US) % 24

    def hour_weight(self, who: Ints, us: Ints) -> Floats:
        """How good the hour is for each, 1 at the best."""
        weight: Floats = self._people.hour_weight[self._people.hour_type[who], self.local_hour(who, us)]
        return weight

    def strength(self, who: Ints, effect: CampaignEffect, channel: str, us: Ints, mode_day: int) -> Floats:
        """Share of the effect left for each: relevance x hour x channel x fatigue, in [0, 1.1].

        `mode_day`: the day of the world whose hidden mode counts for `relevance` idle and lapsed.
        """
        config = self._people.config
        hour = 1 - effect.hour_share + effect.hour_share * self.hour_weight(who, us)
        tired = np.exp(-config.fatigue_response * self.fatigue_at(who, us))
        relevant = self._relevance(who, effect, us, mode_day)
        out: Floats = relevant * hour * tired * config.channel_factors.get(channel, 1.0)
        return out * self.reachable(who, channel, us)

    def reachable(self, who: Ints, channel: str, us: Ints) -> Bools:
        """Known to us, and with an address that works where the channel needs one."""
        known = self.signed_up_us[who] <= us
        if channel not in ADDRESSED:
            return known
        return known & self._people.has_address[channel][who] & ~self._people.bad_address[channel][who]

    def _relevance(self, who: Ints, effect: CampaignEffect, us: Ints, mode_day: int) -> Floats:
        if effect.relevance == "any":
            return np.ones(len(who))
        if effect.relevance in ("idle", "lapsed"):
            wanted = IDLE if effect.relevance == "idle" else LAPSED
            return np.where(self._baseline.modes(mode_day)[who] == wanted, 1.0, effect.off_share)
        if effect.relevance == "cart":
            since, holds = self.cart_us[who], self.open_cart(who, us)
        elif effect.relevance == "browse":
            since = self.view_us[who]
            holds = (since > self.order_us[who]) & (since > NEVER)
        else:
            since = self.signed_up_us[who]
            holds = since <= us
        age_h = np.where(holds, us - since, 0) / HOUR_US
        return np.where(holds, np.maximum(0.5 ** (age_h / effect.half_life_h), effect.off_share), effect.off_share)
