"""Features of kept operations: the newest few of a tap per row; carts, gaps, favourites and sessions made of them."""

from opportune.domain.instants import DAY_US, HOUR_US
from opportune.features.catalog import FEATURES
from opportune.features.declare import SEPARATOR, Feature, Part, Stat, Tap
from opportune.features.hours import EPOCH_SLOT, WEEK_HOURS
from opportune.features.sql.words import edge, text
from opportune.features.taps import SESSION_GAP, TAP_BY_NAME
from opportune.features.windows import width_us

_CART = (Stat.CART_ITEMS, Stat.CART_VALUE, Stat.CART_PRODUCTS)
_LETTERS = (Stat.LETTERS_SENT, Stat.LETTERS_OPENED)
_SESSIONS = (Stat.SESSIONS, Stat.SESSION_EVENTS, Stat.SESSION_MINUTES, Stat.SESSION_DEPTH)
_FAVOURITES = (Stat.TOP, Stat.TOPS, Stat.TOP_SHARE, Stat.DISTINCT)
_TOP_GAPS = (Stat.TOP_GAP_MEAN, Stat.TOP_GAP_MEDIAN, Stat.TOP_GAP_VARIATION)
_GAPS = (Stat.GAP_MEDIAN, Stat.GAP_VARIATION)
_NEWEST = (Stat.NEWEST, Stat.NEWEST_AGE, Stat.IS_OUT)
_GAP_US, _MINUTE_US = width_us(SESSION_GAP), 60_000_000
_STRING = f"chr({ord(SEPARATOR)})"


class Kept:
    """The common table expressions that the features together need, each once. `results`: one line per row each."""

    def __init__(self) -> None:
        self._ctes: dict[str, str] = {}
        self._newest_of: dict[str, str] = {}
        self.results: dict[str, None] = {}

    def ctes(self) -> str:
        """`name AS (...)`, a comma after each."""
        return "".join(f"{name} AS ({query}),\n" for name, query in self._ctes.items())

    def column(self, feature: Feature) -> str:
        """The finished value, to be selected from the results joined to the rows asked for."""
        stat, tap = feature.stat, TAP_BY_NAME[feature.tap]
        if stat in _CART:
            return self._cart(feature, tap)
        if stat in _LETTERS:
            name = self._letters(tap)
            told = f"{name}.{'sent' if stat is Stat.LETTERS_SENT else 'opened'}"
            return f"coalesce({told}, {[0.0] * feature.size}::DOUBLE[])"
        if stat in _SESSIONS:
            return self._session(feature, tap)
        if stat in _NEWEST:
            return self._newest(feature)
        if stat in _GAPS:
            name = self._result(f"{tap.name}_gaps", _gaps_of(self._ops(tap), "row_id"))
            return _gap_column(name, stat)
        if stat in (Stat.LEAST, Stat.MOST):
            told = f"min({feature.part}) AS least, max({feature.part}) AS most"
            query = f"SELECT row_id, {told} FROM {self._ops(tap)} WHERE {feature.part} >= 0 GROUP BY row_id"
            return f"{self._result(f'{tap.name}_{feature.part}_range', query)}.{stat}::DOUBLE / 100"
        return self._favourite(feature, tap)

    def histogram(self, feature: Feature, which: str) -> str:
        """`slots` or `weights` of the hours of week in which events of a tap fell, halved by whole weeks."""
        if feature.window is None or feature.half_life is None:
            raise ValueError(f"{feature.name}: hours of the week need a window and a half life")
        width, fading = width_us(feature.window), width_us(feature.half_life)
        half, name = fading / HOUR_US / WEEK_HOURS, f"{feature.tap}_week_{width // HOUR_US}h_{fading // HOUR_US}h"
        weight = f"pow(0.5, ((((at_us - 1) // {HOUR_US}) - tile_) // {WEEK_HOURS}) / {half}::DOUBLE)"
        self._ctes[f"{name}_slots"] = (
            f"SELECT row_id, ((tile_ + {EPOCH_SLOT}) % {WEEK_HOURS})::SMALLINT AS slot, sum({weight}) AS weight "
            f"FROM seen WHERE is_{feature.tap} AND us > {edge(width)} GROUP BY ALL"
        )
        told = f"SELECT row_id, list(slot) AS slots, list(weight) AS weights FROM {name}_slots GROUP BY row_id"
        return f"{self._result(name, told)}.{which}"

    def _result(self, name: str, query: str) -> str:
        self._ctes[name] = query
        self.results[name] = None
        return name

    def _ops(self, tap: Tap) -> str:
        """The newest operations of a tap per row."""
        keeps, name = tap.keeps, f"{tap.name}_ops"
        if keeps is None:
            raise ValueError(f"the tap {tap.name} keeps no operations")
        parts = "".join(f", {_part(part)} AS {part.name}" for part in keeps.parts)
        inside = f" AND us > {edge(width_us(keeps.window))}" if keeps.window else ""
        after = ""
        if keeps.since_last:
            after = "JOIN sums ON sums.row_id = seen.row_id"
            inside += f" AND us > sums.{keeps.since_last}_last_us"
        order = ", ".join(f"{column} DESC" for column in ("us", *(part.name for part in keeps.parts)))
        self._ctes[name] = (
            f"SELECT seen.row_id, seen.at_us, us{parts} FROM seen {after} WHERE is_{tap.name}{inside} "
            f"QUALIFY row_number() OVER (PARTITION BY seen.row_id ORDER BY {order}) <= {keeps.at_most}"
        )
        return name

    def _cart(self, feature: Feature, tap: Tap) -> str:
        """Per product: units left at the newest known price."""
        ops = self._ops(tap)
        self._ctes["cart_lines"] = (
            "SELECT row_id, product, sum(CASE WHEN is_removed = 1 THEN -units ELSE units END) AS units, "
            "max({'us': us, 'price': price}) FILTER (price >= 0) AS last_price "
            f"FROM {ops} GROUP BY row_id, product"
        )
        name = self._result(
            "cart_left",
            "SELECT row_id, sum(units) AS units, sum(units * coalesce(last_price.price, 0)) AS value_minor, "
            "string_agg(product, ', ' ORDER BY product) FILTER (product <> '') AS products "
            "FROM cart_lines WHERE units > 0 GROUP BY row_id",
        )
        match feature.stat:
            case Stat.CART_ITEMS:
                return f"coalesce({name}.units, 0)::BIGINT"
            case Stat.CART_VALUE:
                return f"coalesce({name}.value_minor, 0)::DOUBLE / 100"
            case _:
                return f"{name}.products"

    def _letters(self, tap: Tap) -> str:
        ops = self._ops(tap)
        self._ctes["each_letter"] = (
            f"SELECT row_id, (min(us) FILTER (is_opened = 0) // {HOUR_US}) % 24 AS hour_, "
            f"max(is_opened) AS is_opened FROM {ops} GROUP BY row_id, letter"
        )
        sent, opened = (
            ", ".join(f"count(*) FILTER (hour_ = {h}{condition})" for h in range(24))
            for condition in ("", " AND is_opened = 1")
        )
        return self._result(
            "letters_told",
            f"SELECT row_id, [{sent}]::DOUBLE[] AS sent, [{opened}]::DOUBLE[] AS opened "
            "FROM each_letter WHERE hour_ IS NOT NULL GROUP BY row_id",
        )

    def _session(self, feature: Feature, tap: Tap) -> str:
        ops = self._ops(tap)
        self._ctes["session_marks"] = (
            f"SELECT *, coalesce(us - lag(us) OVER (PARTITION BY row_id ORDER BY us) > {_GAP_US}, true)::INT AS begins "
            f"FROM {ops}"
        )
        self._ctes["session_numbers"] = (
            "SELECT *, sum(begins) OVER (PARTITION BY row_id ORDER BY us) AS session FROM session_marks"
        )
        self._ctes["each_session"] = (
            "SELECT row_id, any_value(at_us) AS at_us, min(us) AS first_us, max(us) AS last_us, count(*) AS n, "
            "max(depth) AS depth FROM session_numbers GROUP BY row_id, session"
        )
        counted = ", ".join(
            f"count(*) FILTER (first_us > ((at_us - {w}) // {HOUR_US}) * {HOUR_US}) AS {_sessions_in(w)}"
            for w in _session_widths(tap)
        )
        name = self._result(
            "sessions_told",
            f"SELECT row_id, {counted}, max(last_us) AS last_us, max(first_us) AS first_us, arg_max(n, first_us) AS n, "
            "arg_max(depth, first_us) AS depth FROM each_session GROUP BY row_id",
        )
        goes_on = f"r.at_us - {name}.last_us <= {_GAP_US}"
        match feature.stat:
            case Stat.SESSIONS:
                width = width_us(feature.window) if feature.window else 0
                return f"coalesce({name}.{_sessions_in(width)}, 0)::BIGINT"
            case Stat.SESSION_EVENTS:
                return f"CASE WHEN {goes_on} THEN {name}.n ELSE 0 END::BIGINT"
            case Stat.SESSION_MINUTES:
                return f"CASE WHEN {goes_on} THEN ({name}.last_us - {name}.first_us)::DOUBLE / {_MINUTE_US} ELSE 0 END"
            case _:
                return f"CASE WHEN {goes_on} THEN {name}.depth ELSE 0 END::BIGINT"

    def _newest(self, feature: Feature) -> str:
        """The newest operation as one value: the largest (instant, parts), for taps that keep one for ever."""
        told = []
        for tap in (TAP_BY_NAME[name] for name in (feature.tap, feature.than) if name):
            if tap.keeps is None or tap.keeps.at_most != 1 or tap.keeps.window:
                raise ValueError(f"{feature.name}: the tap {tap.name} must keep one operation for ever")
            parts = ", ".join(f"'{part.name}': {_part(part)}" for part in tap.keeps.parts)
            self._newest_of[tap.name] = f"max({{'us': us, {parts}}}) FILTER (is_{tap.name}) AS {tap.name}"
            told.append(f"newest.{tap.name}.{feature.part}")
        heard = " OR ".join(f"is_{name}" for name in self._newest_of)
        ops = ", ".join(self._newest_of.values())  # one pass for all of them: most events say nothing
        self._result("newest", f"SELECT row_id, {ops} FROM seen WHERE {heard} GROUP BY row_id")
        match feature.stat:
            case Stat.IS_OUT:
                return " OR ".join(f"coalesce({one} = 1, false)" for one in told)
            case Stat.NEWEST_AGE:
                since = f"r.at_us - nullif({told[0]}, -1)"
                return f"CASE WHEN {since} < 0 THEN 0 ELSE {since} END::DOUBLE / {DAY_US}"
            case _ if feature.dtype == "float":
                return f"nullif({told[0]}, -1)::DOUBLE"
            case _:
                return f"coalesce({', '.join(f'nullif({one}, {text(str())})' for one in told)})"

    def _favourite(self, feature: Feature, tap: Tap) -> str:
        ops, stem = self._ops(tap), f"{tap.name}_{feature.part}"
        self._ctes[f"{stem}_items"] = (
            f"SELECT row_id, us, unnest(string_split({feature.part}, {_STRING})) AS item "
            f"FROM {ops} WHERE {feature.part} <> ''"
        )
        if feature.stat in _TOP_GAPS:
            self._ctes[f"{stem}_each_gaps"] = _gaps_of(f"{stem}_items", "row_id, item")
            name = self._result(
                f"{stem}_top_gaps",
                f"SELECT * FROM {stem}_each_gaps QUALIFY row_number() OVER (PARTITION BY row_id "
                "ORDER BY n_ops DESC, item) = 1",
            )
            return _gap_column(name, feature.stat)
        self._ctes[f"{stem}_each"] = f"SELECT row_id, item, count(*) AS n FROM {stem}_items GROUP BY row_id, item"
        name = self._result(
            f"{stem}_top",
            "SELECT row_id, list(item ORDER BY n DESC, item) AS items, max(n) AS n_top, sum(n) AS n_all, "
            f"count(*) AS n_items FROM {stem}_each GROUP BY row_id",
        )
        match feature.stat:
            case Stat.TOP:
                return f"{name}.items[1]"
            case Stat.TOPS:
                return f"array_to_string({name}.items[1:3], ', ')"
            case Stat.TOP_SHARE:
                return f"{name}.n_top::DOUBLE / {name}.n_all"
            case _:
                return f"coalesce({name}.n_items, 0)::BIGINT"


def _part(part: Part) -> str:
    if part.measure is None:
        marks = " ".join(f"WHEN {text(name)} THEN {number}" for name, number in part.by_event)
        return f"CASE name_ {marks} ELSE {part.null} END"
    if isinstance(part.null, str):
        return f"coalesce({part.measure}_, {text(part.null)})"
    return f"coalesce({part.measure}_::BIGINT, {part.null})"


def _gaps_of(ops: str, by: str) -> str:
    """Gaps between operations, told in whole numbers, so that nothing is lost."""
    return (
        f"SELECT {by}, count(*) AS n_ops, count(gap) AS n, sum(gap::HUGEINT) AS total, "
        "sum(gap::HUGEINT * gap::HUGEINT) AS squares, median(gap) AS middle "
        f"FROM (SELECT {by}, us - lag(us) OVER (PARTITION BY {by} ORDER BY us) AS gap FROM {ops}) GROUP BY {by}"
    )


def _gap_column(name: str, stat: Stat) -> str:
    match stat:
        case Stat.GAP_MEDIAN | Stat.TOP_GAP_MEDIAN:
            return f"{name}.middle / {DAY_US}"
        case Stat.TOP_GAP_MEAN:
            return f"{name}.total::DOUBLE / nullif({name}.n, 0) / {DAY_US}"
        case _:
            spread = f"sqrt(({name}.n * {name}.squares - {name}.total * {name}.total)::DOUBLE)"
            return f"CASE WHEN {name}.n > 1 AND {name}.total > 0 THEN {spread} / {name}.total::DOUBLE END"


def _session_widths(tap: Tap) -> list[int]:
    return sorted({width_us(f.window) for f in FEATURES if f.stat is Stat.SESSIONS and f.tap == tap.name and f.window})


def _sessions_in(width: int) -> str:
    return f"n_{width // HOUR_US}h"
