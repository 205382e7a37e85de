"""The SQL of every feature, as text, from the same declarations as the online state. Nothing is executed here.

It expects three relations: `r(row_id, customer_id, at_us)`, one row per asked (customer, instant);
`e(customer_id, from_us, to_us, us, known_us, name, origin, <measures>)`, one row per event and span of time in which
it belongs to that customer; and `z(zone, from_us, to_us, offset_us)`, the offsets of every zone that events name.
Instants are microseconds since 1970 UTC; spans are [from, to).
"""

from functools import cache

from opportune.domain.instants import HOUR_US
from opportune.features.catalog import FEATURES, NAMES, needed
from opportune.features.declare import OF_OPS, Feature, Stat, Tap
from opportune.features.derive import derived_sql
from opportune.features.sql.aggregates import DAY, Sums
from opportune.features.sql.kept import Kept
from opportune.features.sql.words import edge, text, texts
from opportune.features.taps import TAPS
from opportune.features.windows import width_us

#: Histograms leave SQL as two lists a row, slots of the week and their weights; `hours.smoothed_rows` finishes them.
HISTOGRAMS: dict[str, Feature] = {f.name: f for f in FEATURES if f.stat in (Stat.HOURS_OF_WEEK, Stat.HOURS_OF_DAY)}


#: The feature that says where a customer is.
ZONE = "zone"
_LOCAL = f"""(
  SELECT whole.*, coalesce(z.offset_us, 0) AS offset_us FROM whole
  LEFT JOIN z ON z.zone = whole.{ZONE} AND z.from_us <= whole.at_us AND whole.at_us < z.to_us
) AS whole"""


@cache
def features_sql(names: tuple[str, ...] = NAMES) -> str:
    """One SELECT: row_id and a column per feature named (and per one it is derived from), one line per row of `r`, in
    no particular order. Raises KeyError for a name the catalogue does not have.

    Only events with event_at <= at and known_at <= at count, under the identity known at `at`. For each of HISTOGRAMS
    asked for the columns `<name>_slots` and `<name>_weights` stand in.
    """
    sums, kept, features = Sums(), Kept(), needed(names)
    plain = [f for f in features if f.tap and f.name not in HISTOGRAMS]
    columns = [f"{kept.column(f) if f.stat in OF_OPS else sums.column(f)} AS {f.name}" for f in plain]
    columns += [
        f"{kept.histogram(f, it)} AS {f.name}_{it}"
        for f in features
        if f.name in HISTOGRAMS
        for it in ("slots", "weights")
    ]
    derived = "".join(f",\n  {derived_sql(f)} AS {f.name}" for f in features if not f.tap)
    for tap in {t.keeps.since_last for t in TAPS if t.keeps and t.keeps.since_last}:
        sums.last(tap)
    has_zone = any(f.name == ZONE for f in features)
    joins = "".join(f"\nLEFT JOIN {name} ON {name}.row_id = r.row_id" for name in ("sums", *kept.results))
    return f"""
WITH rows_ AS MATERIALIZED (SELECT row_id, customer_id, at_us, {_edges()} FROM r),
events_ AS MATERIALIZED ({_events()}),
seen AS NOT MATERIALIZED (
  SELECT rows_.* EXCLUDE (customer_id), events_.* EXCLUDE (customer_id, from_us, to_us, known_us)
  FROM rows_ JOIN events_ ON rows_.customer_id = events_.customer_id
    AND events_.us <= rows_.at_us AND events_.known_us <= rows_.at_us
    AND events_.from_us <= rows_.at_us AND rows_.at_us < events_.to_us
),
sums AS MATERIALIZED (
  SELECT row_id{sums.aggregates()}
  FROM seen GROUP BY row_id
),
{kept.ctes()}
whole AS (
  SELECT r.row_id, r.at_us{"".join(f", {column}" for column in columns)}
  FROM r {joins}
)
SELECT whole.* EXCLUDE (at_us{", offset_us" if has_zone else ""}){derived}
FROM {_LOCAL if has_zone else "whole"}
"""


def _edges() -> str:
    windows = [w for f in FEATURES for w in (f.window, f.against)] + [t.keeps.window for t in TAPS if t.keeps]
    widths = sorted({width_us(w) for w in windows if w})
    return ", ".join(f"((at_us - {w}) // {HOUR_US}) * {HOUR_US} AS {edge(w)}" for w in widths)


def _events() -> str:
    measured = sorted({part.measure for t in TAPS if t.keeps for part in t.keeps.parts if part.measure})
    amounts = "".join(f", coalesce({v}, 0) AS amount_{v}" for v in sorted({tap.value for tap in TAPS if tap.value}))
    heard = ", ".join(f"({_condition(tap)}) AS is_{tap.name}" for tap in TAPS)
    return f"""
  SELECT customer_id, from_us, to_us, us, known_us, (us // {HOUR_US}) % 24 AS hour_, (us - 1) // {HOUR_US} AS tile_,
    {DAY.format(us="us")} AS day_, name AS name_, {", ".join(f"{m} AS {m}_" for m in measured)}{amounts}, {heard}
  FROM e"""


def _condition(tap: Tap) -> str:
    parts = []
    if tap.events is not None:
        parts.append(f"name IN ({texts(tap.events)})")
    if tap.but_not:
        parts.append(f"name NOT IN ({texts(tap.but_not)})")
    if tap.origins is not None:
        parts.append(f"origin IN ({texts(tap.origins)})")
    parts += [f"{m} = {wanted if isinstance(wanted, bool) else text(wanted)}" for m, wanted in tap.where]
    if tap.needs:
        parts.append(f"({' OR '.join(f'{m} IS NOT NULL' for m in tap.needs)})")
    return " AND ".join(parts) or "true"


__all__ = ["HISTOGRAMS", "features_sql"]
