"""Frequency inside a hard cap: how many of the allowed sends this customer gets, by a feature or a score."""

import math
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from opportune.playbook.values import Block


class Adapt(Block):
    """The limit runs from `from` to `to` while `by` runs over `between`, rounded down, and is never above `at_most`.

    With `by` unknown the lower of the two holds: a cap fails closed.
    """

    by: Annotated[str, Field(pattern=r"^(features|scores)\.[a-z][a-z0-9_]*$")] = Field(
        description="`features.<name>` or `scores.<name>`: a number."
    )
    start: int = Field(alias="from", ge=0, description="Sends allowed at and below the first of `between`.")
    to: int = Field(ge=0, description="Sends allowed at and above the second of `between`; may be the smaller.")
    between: tuple[float, float] = Field((0.0, 1.0), description="Values of `by` between which the limit moves.")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _complete(self) -> "Adapt":
        low, high = self.between
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError("`between` is two numbers, the smaller first, like [0, 100]")
        return self

    def limit(self, value: Any) -> int:
        """The limit at this value of `by`; anything that is no finite number counts as unknown."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return min(self.start, self.to)
        low, high = self.between
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        # The nudge keeps a value that is meant to reach a whole number from missing it by a rounding error.
        return math.floor(self.start + (self.to - self.start) * share + 1e-9)
