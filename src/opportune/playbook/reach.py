"""Blocks about who may hear from us, and at which hours: consent, quiet hours, send windows."""

from collections.abc import Mapping
from datetime import time
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from opportune.playbook.values import Block, Channel, Name, Purpose

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: Monday first, as Python counts weekdays.
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
InOrOut = Literal["in", "out"]
#: What becomes of a message that meets shut hours.
Otherwise = Literal["queue", "discard"]
MIDNIGHT = time(0)


class CountryConsent(Block):
    """What holds in one country while the customer has said nothing; a missing key is as elsewhere."""

    default: dict[str, InOrOut] | None = Field(
        None, description="Per channel, `*` for all others; takes the place of the whole `consent.default`."
    )
    profiling: InOrOut | None = None


class ConsentPolicy(Block):
    """What holds when the customer has said nothing."""

    default: dict[str, InOrOut] = Field(
        default_factory=dict, description="Per channel; `*` for all others. A missing channel means out."
    )
    profiling: InOrOut = "in"
    by_country: dict[str, CountryConsent] = Field(
        default_factory=dict, description="ISO 3166 code, `EU` or `EEA` -> what holds there."
    )
    unsubscribe: Literal["channel", "topic"] = Field(
        "channel", description="What one click ends: all marketing on the channel, or its topic there."
    )


class QuietHours(Block):
    """Local hours in which nothing goes that obeys them. May cross midnight. `start` is quiet, `end` is not."""

    start: time
    end: time
    channels: tuple[Channel, ...] | None = None
    otherwise: Otherwise = Field("queue", description="`queue`: wait for the end; `discard`: drop what meets them.")


class OpenHours(Block):
    """One stretch of local hours on some weekdays. `to` not later than `from`: into the next day."""

    days: tuple[Day, ...] = Field(DAYS, min_length=1)
    opens: time = Field(MIDNIGHT, alias="from")
    shuts: time = Field(MIDNIGHT, alias="to")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class SendWindow(Block):
    """Local hours in which messages of some channels may go, and at no others. All windows that bind a message hold."""

    channels: tuple[Channel, ...] | None = Field(None, description="Null: all.")
    purpose: Purpose = "marketing"
    topics: tuple[Name, ...] | None = Field(None, description="Null: all.")
    open: Annotated[tuple[OpenHours, ...], Field(min_length=1, description="Open when any of these is.")]
    otherwise: Otherwise = Field("queue", description="`queue`: wait for the opening; `discard`: drop what meets it.")


def stricter(one: Mapping[str, InOrOut], other: Mapping[str, InOrOut]) -> dict[str, InOrOut]:
    """Channel defaults that say `in` only where both do; `*` covers what is not named, and is out when missing."""

    def said(defaults: Mapping[str, InOrOut], channel: str) -> InOrOut:
        return defaults.get(channel, defaults.get("*", "out"))

    return {
        channel: "in" if said(one, channel) == said(other, channel) == "in" else "out"
        for channel in sorted({*one, *other, "*"})
    }
