"""The blocks that say what a message is worth: fatigue, levers, channels, budgets. None of them is needed to start."""

from collections.abc import Collection
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from opportune.playbook.values import Block, Channel

#: How many messages a declared number is worth beside what the log says.
_PRIOR = "Messages the declared number weighs as much as; null: the log never corrects it."


class Selects(Block):
    """Which messages are meant: all given keys must hold; none given: all."""

    campaign: str | None = None
    channel: Channel | None = None
    topic: str | None = None
    tag: str | None = None

    def means(self, campaign: str, channel: str, topic: str, tags: Collection[str]) -> bool:
        """True when every given key holds for such a message."""
        return (
            self.campaign in (None, campaign)
            and self.channel in (None, channel)
            and self.topic in (None, topic)
            and (self.tag is None or self.tag in tags)
        )


class Fatigue(Block):
    """What one more marketing message costs in reach: the chance that it makes the customer unsubscribe."""

    p_unsubscribe: float = Field(ge=0, le=1)
    value_of_reach_minor: int = Field(ge=0, description="What being allowed to speak to a customer is worth.")
    per_send_7d: float = Field(
        0.0, ge=0, description="The chance grows by this share for each marketing message of the 7 days before."
    )
    prior_weight: float | None = Field(None, gt=0, description=_PRIOR)


class Lever(Selects):
    """Messages that count for more, or less, than they are worth: a decision of people, in the open."""

    times: float = Field(ge=0, description="The value is multiplied by this.")
    when: str | None = None


class ChannelTerms(Block):
    """What is known about a channel: how often people engage on it, and what a message on it costs."""

    p_engage: float | None = Field(None, gt=0, le=1, description="Chance that a message is engaged with.")
    prior_weight: float | None = Field(None, gt=0, description=_PRIOR)
    sent: str | None = Field(None, description="Feature: messages the customer had on this channel.")
    engaged: str | None = Field(None, description="Feature: those the customer engaged with.")
    cost_minor: int = Field(0, ge=0, description="Added to the cost of each message on this channel.")

    @model_validator(mode="after")
    def _complete(self) -> "ChannelTerms":
        own = (self.prior_weight, self.sent, self.engaged)
        if any(it is not None for it in own) and (self.p_engage is None or any(it is None for it in own)):
            raise ValueError(
                "to learn from the customer's own messages give `p_engage`, `prior_weight`, `sent` and `engaged`"
            )
        return self


class Budget(Selects):
    """At most so many messages, or so much money, in each day, week or month. Transactional messages are exempt."""

    per: Literal["day", "week", "month"]
    at_most: int | None = Field(None, ge=0, description="Messages.")
    at_most_minor: int | None = Field(None, ge=0, description="Money: what the messages cost.")
    zone: str = Field("UTC", description="Where its days begin at midnight; weeks begin on Monday.")

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"`{zone}` is not a time zone: write one like Europe/London") from error
        return zone

    @model_validator(mode="after")
    def _complete(self) -> "Budget":
        if (self.at_most is None) == (self.at_most_minor is None):
            raise ValueError("a budget needs either `at_most` (messages) or `at_most_minor` (money)")
        return self

    @property
    def limit(self) -> int:
        """Messages, or minor units of currency, in one period."""
        found = self.at_most if self.at_most is not None else self.at_most_minor
        assert found is not None
        return found
