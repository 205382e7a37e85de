"""Where events come from, and by which signs one can tell that they are coming: what absence triggers wait for."""

from collections.abc import Collection
from datetime import timedelta

from pydantic import Field, model_validator

from opportune.playbook.values import Block, Duration

#: The reserved name of our own ingestion.
INGESTION = "ingestion"
_MINUTE = timedelta(minutes=1)


class Heartbeat(Block):
    """An event that comes again and again while the source is well."""

    event: str = Field(min_length=1)
    every: Duration

    @model_validator(mode="after")
    def _complete(self) -> "Heartbeat":
        if self.every < _MINUTE:
            raise ValueError("`every` is a minute at least: signs of life are counted by the minute")
        return self


class MinRate(Block):
    """So many events within so long while the source is well."""

    at_least: int = Field(ge=1)
    in_: Duration = Field(alias="in")

    @model_validator(mode="after")
    def _complete(self) -> "MinRate":
        if not _MINUTE <= self.in_ <= timedelta(days=2):
            raise ValueError("`in` is from a minute to 2 days")
        return self


class Source(Block):
    """One source of events. Absence triggers with one of its events in `unless` wait while it is not well."""

    events: tuple[str, ...] = Field((), description="What it sends; empty: anything.")
    heartbeat: Heartbeat | None = None
    min_rate: MinRate | None = None
    lateness: Duration = Field(timedelta(minutes=5), description="How late an event may come while it is well.")
    grace: Duration = Field(timedelta(minutes=10), description="How long its backlog takes to come in after a fault.")

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        if self.grace > timedelta(days=1) or self.lateness > timedelta(days=1):
            raise ValueError("`lateness` and `grace` are a day at most")
        return self

    def sends(self, events: Collection[str]) -> bool:
        """Whether one of these events may come from it."""
        return not self.events or any(event in self.events for event in events)
