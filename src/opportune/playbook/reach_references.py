"""What is wrong with the blocks about consent and hours that no single block can know."""

from collections.abc import Collection, Iterator, Mapping
from typing import get_args

from opportune.playbook.countries import GROUPS, code_of
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint
from opportune.playbook.reach import MIDNIGHT, ConsentPolicy, QuietHours, SendWindow
from opportune.playbook.values import Channel

CHANNELS: tuple[str, ...] = get_args(Channel)

Found = tuple[Path, str]


def errors_in_consent(policy: ConsentPolicy) -> Iterator[Found]:
    """Channels and countries that do not exist."""
    yield from _channel_errors(policy.default, ("consent", "default"))
    for country, there in policy.by_country.items():
        if country not in GROUPS and (country != country.upper() or code_of(country) != country):
            near = code_of(country)
            advice = f": write `{near}`" if near else ": two capital letters of ISO 3166, like DE, or EU, or EEA"
            yield ("consent", "by_country", country), f"`{country}` is no country code{advice}"
        yield from _channel_errors(there.default or {}, ("consent", "by_country", country, "default"))


def _channel_errors(defaults: Mapping[str, str], path: Path) -> Iterator[Found]:
    for channel in defaults:
        if channel not in (*CHANNELS, "*"):
            where = ".".join(map(str, path[:-1]))
            advice = (
                f"; write `{where}.profiling` instead" if channel == "profiling" else hint(channel, (*CHANNELS, "*"))
            )
            yield (*path, channel), f"unknown channel `{channel}`{advice}"


def errors_in_quiet_hours(quiet: QuietHours) -> Iterator[Found]:
    """Zones in hours, and hours that are none."""
    for field, hour in (("start", quiet.start), ("end", quiet.end)):
        if hour.tzinfo is not None:
            yield ("quiet_hours", field), "quiet hours are local to the customer: leave the zone out"
    if quiet.start == quiet.end:
        yield ("quiet_hours", "end"), "`start` and `end` are equal: leave `quiet_hours` out for none"


def errors_in_window(name: str, window: SendWindow, topics: Mapping[str, object]) -> Iterator[Found]:
    """Topics that do not exist, zones in hours, and hours that are none."""
    path: Path = ("send_windows", name)
    for index, topic in enumerate(window.topics or ()):
        if topic not in topics:
            yield (*path, "topics", index), f"unknown topic `{topic}`{hint(topic, topics)}"
    for index, hours in enumerate(window.open):
        for field, hour in (("from", hours.opens), ("to", hours.shuts)):
            if hour.tzinfo is not None:
                yield (*path, "open", index, field), "send windows are local to the customer: leave the zone out"
        if hours.opens == hours.shuts != MIDNIGHT:
            yield (*path, "open", index, "to"), "`from` and `to` are equal: leave both out for the whole day"
        if len(set(hours.days)) < len(hours.days):
            yield (*path, "open", index, "days"), "a day is named twice"


def doubts_in_window(name: str, window: SendWindow, spoken: Collection[tuple[str, str, str]]) -> Iterator[Found]:
    """`spoken`: (channel, purpose, topic) of every campaign on every channel."""
    bound = [
        1 for channel, purpose, topic in spoken
        if (window.channels is None or channel in window.channels) and purpose == window.purpose
        and (window.topics is None or topic in window.topics)
    ]  # fmt: skip
    if not bound:
        yield ("send_windows", name), "no campaign speaks on these channels and topics: this window binds nothing"
