"""Features that are one pass of filtered aggregates over the seen events: counts, sums, ages, shares, trends."""

from opportune.domain.instants import DAY_US, HOUR_US
from opportune.features.declare import Feature, Stat
from opportune.features.sql.words import edge
from opportune.features.taps import TAP_BY_NAME
from opportune.features.windows import width_us

#: The UTC day whose tiles hold an instant; an event exactly at midnight still belongs to the day before.
DAY = f"(({{us}} - 1) // {DAY_US})"


class Sums:
    """The aggregates that the features together need, each once, and how a feature is made of them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def aggregates(self) -> str:
        """The SELECT list over `seen`, grouped by row, after the row's id."""
        return "".join(f",\n    {expression} AS {name}" for expression, name in self._names.items())

    def last(self, tap: str) -> str:
        """The last instant of a tap, under a name of its own."""
        return self._names.setdefault(f"coalesce(max(us) FILTER (is_{tap}), -1)", f"{tap}_last_us")

    def column(self, feature: Feature) -> str:
        """The finished value, to be selected from `sums` joined to the rows asked for. Raises ValueError."""
        tap, width = f"is_{feature.tap}", width_us(feature.window) if feature.window else 0
        match feature.stat:
            case Stat.COUNT:
                return f"coalesce({self._count(tap, width)}, 0)::BIGINT"
            case Stat.DAYS:  # a bit per day, for a count of distinct values is far slower
                ago = f"1::HUGEINT << least({DAY.format(us='at_us')} - day_, 126)::INT"
                return f"coalesce(bit_count({self._of(f'bit_or({ago})', _inside(tap, width))}), 0)::BIGINT"
            case Stat.SUM:
                return f"coalesce({self._sum(feature, width)}, 0)::DOUBLE / 100"
            case Stat.MEAN:
                return f"{self._sum(feature, width)}::DOUBLE / nullif({self._count(tap, width)}, 0) / 100"
            case Stat.SHARE:
                others = self._count(f"is_{feature.than}", width)
                return f"coalesce({self._count(tap, width)}, 0)::DOUBLE / nullif({others}, 0)"
            case Stat.TREND:
                longer = width_us(feature.against) if feature.against else width
                wide = self._count(tap, longer)
                return f"({self._count(tap, width)} * {longer})::DOUBLE / nullif({wide} * {width}, 0)"
            case Stat.DECAYED:
                half = width_us(feature.half_life) / HOUR_US if feature.half_life else 1.0
                weight = f"pow(0.5, (((at_us - 1) // {HOUR_US}) - tile_) / {half}::DOUBLE)"
                return f"coalesce({self._of(f'sum({weight})', _inside(tap, width))}, 0)::DOUBLE"
            case Stat.FIRST_AGE:
                return f"(r.at_us - {self._of('min(us)', tap)})::DOUBLE / {DAY_US}"
            case Stat.LAST_AGE:
                return f"(r.at_us - {self._of('max(us)', tap)})::DOUBLE / {DAY_US}"
            case Stat.MEAN_GAP:
                first, last = self._of("min(us)", tap), self._of("max(us)", tap)
                return f"({last} - {first})::DOUBLE / nullif({self._count(tap, 0)} - 1, 0) / {DAY_US}"
            case Stat.AFTER:
                other = self._of("max(us)", f"is_{feature.than}")
                return f"({self._of('max(us)', tap)} - {other})::DOUBLE / {DAY_US}"
            case Stat.HOURS:
                counted = (self._of("count(*)", f"{tap} AND hour_ = {h}") for h in range(24))
                return f"[{', '.join(f'coalesce({n}, 0)' for n in counted)}]::DOUBLE[]"
            case _:
                raise ValueError(f"{feature.name}: {feature.stat} is not one pass of aggregates")

    def _of(self, aggregate: str, inside: str) -> str:
        expression = f"{aggregate} FILTER ({inside})"
        return "sums." + self._names.setdefault(expression, f"a{len(self._names)}")

    def _count(self, tap: str, width: int) -> str:
        return self._of("count(*)", _inside(tap, width))

    def _sum(self, feature: Feature, width: int) -> str:
        return self._of(f"sum(amount_{TAP_BY_NAME[feature.tap].value})", _inside(f"is_{feature.tap}", width))


def _inside(tap: str, width: int) -> str:
    return f"{tap} AND us > {edge(width)}" if width else tap
