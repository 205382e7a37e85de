"""What is true about customers, as far as the observable history tells and beyond it."""

from typing import TYPE_CHECKING

import numpy as np

from opportune.world.draws import Floats, Ints
from opportune.world.people import People
from opportune.world.rhythms import BROWSE, CART, LAPSED, N_MODES, NOTHING, ORDER, Baseline, Filter

if TYPE_CHECKING:
    import pandas as pd


class Truth:
    """The exact filter over the organic history; it keeps the last belief, so that walking forward in time is cheap."""

    def __init__(self, people: People, baseline: Baseline) -> None:
        self._people, self._baseline = people, baseline
        self.filter = Filter(baseline.chain)
        self._day = 0
        self._belief = self._prior()

    def _prior(self) -> Floats:
        return np.tile(self.filter.prior, (self._people.n, 1))

    def belief(self, day: int) -> Floats:
        """(n, classes x 3) posterior over (class, mode) at the start of a day of the world."""
        if day < self._day:
            self._day, self._belief = 0, self._prior()
        arrival = self._people.arrival_day
        while self._day < day:
            d = self._day
            here = np.flatnonzero(arrival <= d)
            symbols = self._baseline.symbols(d)[here]
            absolute = self._baseline.first_day + d
            self._belief[here] = self.filter.forward(self._belief[here], symbols, absolute, arrival[here] == d)
            self._day += 1
        return self._belief

    def none_within(self, day: int, horizon_days: int, symbols: tuple[int, ...]) -> Floats:
        """As Filter.none_within, for a day of the world."""
        return self.filter.none_within(symbols, self._baseline.first_day + day, horizon_days)

    def frame(self, who: Ints, customer_id: list[str], day: int, horizon_days: int) -> "pd.DataFrame":
        """One row per customer; see World.truth for the columns."""
        import pandas as pd

        people, config = self._people, self._people.config
        belief = self.belief(day)[who]
        no_order = self.none_within(day, horizon_days, (ORDER,))
        no_visit = self.none_within(day, horizon_days, (BROWSE, CART, ORDER))
        mode = self._baseline.modes(day)[who].astype(np.int64)
        state = people.rhythm[who] * N_MODES + mode
        lapsed = belief.reshape(len(who), -1, N_MODES)[:, :, LAPSED].sum(axis=1)
        hazard = np.array([r.hazard for r in config.rhythms])[people.rhythm[who]]
        names, types = [r.name for r in config.rhythms], list(config.hour_types)
        return pd.DataFrame(
            {
                "customer_id": customer_id,
                "p_purchase": 1 - belief @ no_order,
                "p_churn": belief @ no_visit,
                "p_lapsed": lapsed,
                "p_purchase_hidden": 1 - no_order[state],
                "p_churn_hidden": no_visit[state],
                "best_hour_local": people.best_hour[who],
                "zone": np.array(people.zone_names)[people.zone[who]],
                "is_zone_told": people.zone_known[who],
                "rhythm": np.array(names)[people.rhythm[who]],
                "is_lapsed": mode == LAPSED,
                "churn_hazard": np.where(mode == LAPSED, 0.0, hazard),
                "hour_type": np.array(types)[people.hour_type[who]],
                "category": np.array(config.categories)[people.main[who]],
                "is_profiled": people.profiling[who],
            }
        )

    def outcomes(self, who: Ints, day: int, horizon_days: int) -> tuple[Ints, Ints]:
        """What really happens in [day, day + horizon) without messages: (n orders days, n visit days) each (r,)."""
        days = [self._baseline.symbols(day + h)[who] for h in range(horizon_days)]
        seen = np.stack(days) if days else np.zeros((0, len(who)), np.uint8)
        return (seen == ORDER).sum(axis=0), (seen != NOTHING).sum(axis=0)

    def p_order_after(self, who: Ints, day: int, n_days: int) -> Floats:
        """P(an organic order on the n days after `day` | the true hidden state at the start of `day`), (r,)."""
        state = self._people.rhythm[who] * N_MODES + self._baseline.modes(day)[who]
        none: Floats = self.filter.step_any(self._baseline.first_day + day) @ self.none_within(
            day + 1, n_days, (ORDER,)
        )
        some: Floats = 1 - none[state]
        return some
