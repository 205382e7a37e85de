"""How commands speak: progress on stderr, results on stdout, as words or as JSON."""

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click


def say(text: str) -> None:
    """A line of progress."""
    click.echo(text, err=True)


def result(data: Any, words: str, as_json: bool) -> None:
    """The result: JSON when asked for, else words."""
    if as_json:
        import orjson

        click.echo(orjson.dumps(data, default=str, option=orjson.OPT_INDENT_2).decode())
    else:
        click.echo(words)


def counter(what: str, every_s: float = 1.0) -> Callable[[int], None]:
    """A progress line that is written over while it counts, at most once per `every_s`."""
    started = last = time.monotonic()

    def count(n: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every_s:
            last = now
            end = "\r" if sys.stderr.isatty() else "\n"
            click.echo(f"  {what}: {n:,} ({n / max(now - started, 1e-9):,.0f}/s)".ljust(60) + end, nl=False, err=True)

    return count


def instant(text: str | None, option: str, now: datetime | None = None) -> datetime | None:
    """The instant of an option; null when it was left out. BadParameter for what is none or lies after `now`."""
    from opportune.domain.instants import parse_instant

    if text is None:
        return None
    try:
        at = parse_instant(text)
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no instant: write 2026-10-31 or 2026-10-31T12:00:00Z", param_hint=option
        ) from None
    if now is not None and at > now:
        raise click.BadParameter(f"{text} lies in the future: it is {now:%Y-%m-%d %H:%M} UTC here", param_hint=option)
    return at


def span(text: str, option: str) -> timedelta:
    """A duration like 15m or 1h. Raises UsageError naming the option."""
    from opportune.playbook.values import parse_duration

    try:
        found = parse_duration(text)
    except ValueError as problem:
        raise click.UsageError(f"{option}: {problem}") from None
    assert isinstance(found, timedelta)
    return found


json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
