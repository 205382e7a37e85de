"""The SQL of every feature, as text, from the same declarations as the online state. Nothing is executed here.

It expects two relations: `r(row_id, customer_id, at_us)`, one row per asked (customer, instant), and
`e(customer_id, from_us, to_us, us, known_us, name, origin, <measures>)`, one row per event and span of time in which
it belongs to that customer. Instants are microseconds since 1970 UTC; spans are [from, to).
"""

from opportune.domain.instants import DAY_US, HOUR_US
from opportune.features.catalog import (
    CART_MAX_OPS,
    CART_WINDOW,
    FEATURES,
    LETTER_MAX_OPS,
    LETTER_OPENED,
    LETTER_WINDOW,
    REMOVED,
    TAPS,
    Feature,
    Stat,
    Tap,
)
from opportune.features.windows import width_us

_APART = (Stat.CART_ITEMS, Stat.CART_VALUE, Stat.LETTERS_SENT, Stat.LETTERS_OPENED)
#: The UTC day whose tiles hold an instant; an event exactly at midnight still belongs to the day before.
_DAY = f"(({{us}} - 1) // {DAY_US})"


def features_sql() -> str:
    """One SELECT: row_id and a column per catalogue feature, one line per row of `r`, in no particular order.

    Only events with event_at <= at and known_at <= at count, under the identity known at `at`.
    """
    edges = sorted({width_us(f.window) for f in FEATURES if f.window} | {width_us(CART_WINDOW)})
    edge_columns = ", ".join(f"((at_us - {w}) // {HOUR_US}) * {HOUR_US} AS {_edge(w)}" for w in edges)
    heard = ", ".join(f"({_condition(tap)}) AS is_{tap.name}" for tap in TAPS)
    measured = sorted({tap.value for tap in TAPS if tap.value})
    amounts = "".join(f", coalesce({value}, 0) AS amount_{value}" for value in measured)
    aggregates = ",\n    ".join(f"{_aggregate(f)} AS {f.name}" for f in FEATURES if f.stat not in _APART)
    finished = ",\n  ".join(f"{_finish(f)} AS {f.name}" for f in FEATURES)
    return f"""
WITH rows_ AS (SELECT row_id, customer_id, at_us, {edge_columns} FROM r),
events_ AS (
  SELECT customer_id, from_us, to_us, us, known_us, (us // {HOUR_US}) % 24 AS hour_, {_DAY.format(us="us")} AS day_,
    name, letter, product_id, price_minor, quantity{amounts}, {heard}
  FROM e
),
seen AS NOT MATERIALIZED (
  SELECT rows_.* EXCLUDE (customer_id), events_.* EXCLUDE (customer_id, from_us, to_us, known_us)
  FROM rows_ JOIN events_ ON rows_.customer_id = events_.customer_id
    AND events_.us <= rows_.at_us AND events_.known_us <= rows_.at_us
    AND events_.from_us <= rows_.at_us AND rows_.at_us < events_.to_us
),
sums AS MATERIALIZED (
  SELECT row_id, coalesce(max(us) FILTER (is_orders), -1) AS ordered_us,
    {aggregates}
  FROM seen GROUP BY row_id
),
{_cart_ctes()},
{_letter_ctes()}
SELECT
  r.row_id,
  {finished}
FROM r LEFT JOIN sums ON sums.row_id = r.row_id LEFT JOIN cart ON cart.row_id = r.row_id
LEFT JOIN letters ON letters.row_id = r.row_id
"""


def _cart_ctes() -> str:
    """The newest operations since the last order, then per product: units left at the newest known price."""
    return f"""ops AS (
  SELECT seen.row_id, us, coalesce(product_id, '') AS product,
    CASE WHEN name = {_text(REMOVED)} THEN -coalesce(quantity, 1) ELSE coalesce(quantity, 1) END AS units,
    coalesce(price_minor, -1) AS price
  FROM seen JOIN sums ON sums.row_id = seen.row_id
  WHERE is_cart AND us > {_edge(width_us(CART_WINDOW))} AND us > sums.ordered_us
),
newest AS (
  SELECT * FROM ops
  QUALIFY row_number() OVER (
    PARTITION BY row_id ORDER BY us DESC, product DESC, units DESC, price DESC
  ) <= {CART_MAX_OPS}
),
lines AS (
  SELECT row_id, product, sum(units) AS units, max({{'us': us, 'price': price}}) FILTER (price >= 0) AS last_price
  FROM newest GROUP BY row_id, product
),
cart AS (
  SELECT row_id, sum(units) AS units, sum(units * coalesce(last_price.price, 0)) AS value_minor
  FROM lines WHERE units > 0 GROUP BY row_id
)"""


def _letter_ctes() -> str:
    return f"""letter_ops AS (
  SELECT row_id, us, letter, (name IN ({_texts(LETTER_OPENED)}))::INT AS is_opened
  FROM seen WHERE is_letters AND letter IS NOT NULL AND us > {_edge(width_us(LETTER_WINDOW))}
),
newest_letter_ops AS (
  SELECT * FROM letter_ops
  QUALIFY row_number() OVER (PARTITION BY row_id ORDER BY us DESC, letter DESC, is_opened DESC) <= {LETTER_MAX_OPS}
),
each_letter AS (
  SELECT row_id, (min(us) FILTER (is_opened = 0) // {HOUR_US}) % 24 AS hour_, max(is_opened) AS is_opened
  FROM newest_letter_ops GROUP BY row_id, letter
),
letters AS (
  SELECT row_id, [{_by_hour("true")}]::DOUBLE[] AS sent, [{_by_hour("is_opened = 1")}]::DOUBLE[] AS opened
  FROM each_letter WHERE hour_ IS NOT NULL GROUP BY row_id
)"""


def _by_hour(condition: str) -> str:
    return ", ".join(f"count(*) FILTER ({condition} AND hour_ = {h})" for h in range(24))


def _condition(tap: Tap) -> str:
    parts = []
    if tap.events is not None:
        parts.append(f"name IN ({_texts(tap.events)})")
    if tap.but_not:
        parts.append(f"name NOT IN ({_texts(tap.but_not)})")
    if tap.origins is not None:
        parts.append(f"origin IN ({_texts(tap.origins)})")
    parts += [f"{m} = {wanted if isinstance(wanted, bool) else _text(wanted)}" for m, wanted in tap.where]
    return " AND ".join(parts) or "true"


def _aggregate(feature: Feature) -> str:
    heard = f"is_{feature.tap}"
    inside = f"{heard} AND us > {_edge(width_us(feature.window))}" if feature.window else heard
    match feature.stat:
        case Stat.COUNT:
            return f"count(*) FILTER ({inside})"
        case Stat.DAYS:  # a bit per day, for a count of distinct values is far slower
            at_day = _DAY.format(us="at_us")
            return f"bit_or(1::HUGEINT << least({at_day} - day_, 126)::INT) FILTER ({inside})"
        case Stat.SUM:
            value = next(tap.value for tap in TAPS if tap.name == feature.tap)
            return f"sum(amount_{value}) FILTER ({inside})"
        case Stat.FIRST_AGE:
            return f"(any_value(at_us) - min(us) FILTER ({heard}))::DOUBLE / {DAY_US}"
        case Stat.LAST_AGE:
            return f"(any_value(at_us) - max(us) FILTER ({heard}))::DOUBLE / {DAY_US}"
        case Stat.MEAN_GAP:
            n = f"nullif(count(*) FILTER ({heard}) - 1, 0)"
            return f"(max(us) FILTER ({heard}) - min(us) FILTER ({heard}))::DOUBLE / {n} / {DAY_US}"
        case Stat.AFTER:
            return f"(max(us) FILTER ({heard}) - max(us) FILTER (is_{feature.than}))::DOUBLE / {DAY_US}"
        case Stat.HOURS:
            return f"[{_by_hour(heard)}]::DOUBLE[]"
        case _:
            raise ValueError(f"{feature.name}: carts and letters are not one aggregate")


def _finish(feature: Feature) -> str:
    match feature.stat:
        case Stat.COUNT:
            return f"coalesce(sums.{feature.name}, 0)::BIGINT"
        case Stat.SUM:
            return f"coalesce(sums.{feature.name}, 0)::DOUBLE / 100"
        case Stat.HOURS:
            return f"coalesce(sums.{feature.name}, {[0.0] * feature.size}::DOUBLE[])"
        case Stat.DAYS:
            return f"coalesce(bit_count(sums.{feature.name}), 0)::BIGINT"
        case Stat.LETTERS_SENT:
            return f"coalesce(letters.sent, {[0.0] * feature.size}::DOUBLE[])"
        case Stat.LETTERS_OPENED:
            return f"coalesce(letters.opened, {[0.0] * feature.size}::DOUBLE[])"
        case Stat.CART_ITEMS:
            return "coalesce(cart.units, 0)::BIGINT"
        case Stat.CART_VALUE:
            return "coalesce(cart.value_minor, 0)::DOUBLE / 100"
        case _:
            return f"sums.{feature.name}"


def _edge(width: int) -> str:
    return f"edge_{width // HOUR_US}h"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _texts(values: tuple[str, ...]) -> str:
    return ", ".join(_text(value) for value in values)
