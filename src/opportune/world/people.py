"""Who lives in the world: what is fixed about each customer, seen or unseen."""

from functools import cached_property

import numpy as np

from opportune.world.config import WorldConfig
from opportune.world.draws import Bools, Draws, Floats, Ints, Stream

#: Channels that need an address; the others (inapp, onsite) reach everyone.
ADDRESSED = ("email", "push", "sms")
_NAMES = ("Ada", "Ben", "Chloé", "Dev", "Elif", "Femi", "Grace", "Hiro", "Inês", "Jamal", "Kaja", "Liam", "Mei", "Noor")


class People:
    """Columns of length n, one row per customer; row number is `who`.

    `rhythm`, `hour_type`, `zone` index the configuration in its order. `arrival_day` counts days of the world.
    Nothing here depends on the rhythm, so none of it tells anything about future visits.
    """

    def __init__(self, config: WorldConfig, draws: Draws) -> None:
        self.config = config
        self.n = config.n_customers + config.n_new_customers
        self.who: Ints = np.arange(self.n, dtype=np.int64)
        who, share = self.who, np.array
        self.rhythm = draws.choice(share([r.share for r in config.rhythms]), Stream.RHYTHM, who)
        self.zone = draws.choice(share(list(config.zones.values())), Stream.ZONE, who)
        self.zone_known: Bools = draws.uniform(Stream.ZONE_KNOWN, who) >= config.p_zone_missing
        self.hour_type = draws.choice(share([t[0] for t in config.hour_types.values()]), Stream.HOUR_TYPE, who)
        level = draws.choice(share([e[0] for e in config.engagement]), Stream.ENGAGEMENT, who)
        self.engagement: Floats = share([e[1] for e in config.engagement])[level]
        n_categories = len(config.categories)
        self.main = (draws.uniform(Stream.TASTE, who) * n_categories).astype(np.int64)
        step = 1 + (draws.uniform(Stream.TASTE, who, 1) * (n_categories - 1)).astype(np.int64)
        self.second = (self.main + step) % n_categories
        channels = [(c, i) for i, c in enumerate(ADDRESSED)]
        self.has_address = {c: draws.uniform(Stream.ADDRESS, who, i) < config.addresses[c] for c, i in channels}
        self.bad_address = {c: draws.uniform(Stream.ADDRESS, who, 10 + i) < config.p_bad_address for c, i in channels}
        self.opts_in = {c: draws.uniform(Stream.CONSENT, who, i) < config.p_opt_in[c] for c, i in channels}
        self.profiling: Bools = draws.uniform(Stream.CONSENT, who, 10) >= config.p_profiling_out
        self.name_known: Bools = draws.uniform(Stream.TRAIT, who) >= config.p_name_missing
        self.name = (draws.uniform(Stream.TRAIT, who, 1) * len(_NAMES)).astype(np.int64)
        self.two_devices: Bools = draws.uniform(Stream.DEVICE, who) < config.p_second_device
        self.arrival_day = self._arrivals(draws)

    def _arrivals(self, draws: Draws) -> Ints:
        config, u, v = self.config, *(draws.uniform(Stream.ARRIVAL, self.who, i) for i in (0, 1))
        early = v < config.early_share
        day = np.where(early, u * max(1, config.n_days // 6), u * config.n_days).astype(np.int64)
        later = config.n_days + (u * max(1, config.new_days)).astype(np.int64)
        return np.where(self.who < config.n_customers, day, later)

    @cached_property
    def hours(self) -> Floats:
        """(types, 24) probability of each local hour for a visit; rows sum to 1."""
        centre = np.arange(24) + 0.5
        rows = []
        for _, peak, width in self.config.hour_types.values():
            away = np.abs((centre - peak - 0.5 + 12) % 24 - 12)
            bump = np.exp(-0.5 * (away / width) ** 2)
            rows.append((1 - self.config.hour_floor) * bump / bump.sum() + self.config.hour_floor / 24)
        return np.array(rows)

    @cached_property
    def hour_weight(self) -> Floats:
        """(types, 24) how good each local hour is for a message: 1 at the best."""
        weight: Floats = self.hours / self.hours.max(axis=1, keepdims=True)
        return weight

    @cached_property
    def best_hour(self) -> Ints:
        """(n,) the true best local hour to speak, 0-23."""
        best: Ints = self.hours.argmax(axis=1)[self.hour_type]
        return best

    @cached_property
    def zone_names(self) -> tuple[str, ...]:
        """IANA names in the order `zone` indexes them."""
        return tuple(self.config.zones)

    def user_id(self, who: int) -> str:
        """The userId after sign-up."""
        return f"c{who:06d}"

    def anonymous_id(self, who: int, device: int = 0) -> str:
        """The anonymousId of a customer's first (0) or second (1) device."""
        return f"a{who:06d}-{device + 1}"

    def who_is(self, customer_id: str) -> int:
        """Row of a canonical customer id, `c000042` or `anon:a000042-1`. Raises KeyError for a stranger."""
        text = customer_id.removeprefix("anon:")
        number = text[1:].split("-")[0]
        if text[:1] not in ("a", "c") or not number.isdigit() or int(number) >= self.n:
            raise KeyError(f"{customer_id!r} does not live in this world")
        return int(number)

    def traits(self, who: int) -> dict[str, object]:
        """What the customer tells at sign-up; names not told are left out."""
        told: dict[str, object] = {"region": self.zone_names[self.zone[who]].split("/")[0]}
        if self.zone_known[who]:
            told["timezone"] = self.zone_names[self.zone[who]]
        if self.has_address["email"][who]:
            told["email"] = f"c{who:06d}@example.com"
        if self.has_address["push"][who]:
            told["push_token"] = f"push-{who:06d}"
        if self.has_address["sms"][who]:
            told["phone"] = f"+44 7700 9{who:05d}"
        if self.name_known[who]:
            told["first_name"] = _NAMES[self.name[who]]
        return told

    def said(self, who: int) -> dict[str, bool]:
        """Consent given at sign-up: channel -> in; `profiling` too."""
        return {c: bool(self.opts_in[c][who]) for c in ADDRESSED} | {"profiling": bool(self.profiling[who])}
