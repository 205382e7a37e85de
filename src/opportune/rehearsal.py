"""Run the unit tests of a playbook: each case in a sandbox of its own, and every difference said in a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from opportune.domain.instants import format_instant
from opportune.playbook.cases import Case, ExpectedMessage, ExpectedRemoval, PlacedCase, Step, read_cases
from opportune.playbook.load import DEFAULT, Playbook, load
from opportune.sandboxes import Message, Sandbox

#: Folder beside a playbook's files that holds its tests.
FOLDER = "tests"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test that ran. `faults` empty: it passed. `story`: what was decided, in sentences, oldest first.
    `messages`: what went, and what requests were answered with."""

    test: PlacedCase
    faults: tuple[str, ...]
    story: tuple[str, ...]
    messages: tuple[Message, ...] = ()

    @property
    def has_passed(self) -> bool:
        """True when everything expected came, and no message besides."""
        return not self.faults


def cases_of(playbook: Path | None, files: Sequence[Path] = ()) -> list[PlacedCase]:
    """The tests of `files`, or else of the playbook's folder `tests/`; of a playbook in one file `tests/<its name>`.

    Raises PlaybookInvalid, OSError; FileNotFoundError, saying what to do, when there is none.
    """
    home = DEFAULT if playbook is None else playbook
    if not files and home.is_file():
        files = [home.parent / FOLDER / home.name]
    elif not files:
        files = sorted(f for f in (home / FOLDER).glob("*.y*ml") if f.is_file())
    if not files:
        raise FileNotFoundError(f"no tests in {home / FOLDER}: write one (docs/playbook.md, Tests), or name a file")
    return [case for file in files for case in read_cases(file)]


def rehearse(tests: Sequence[PlacedCase], playbook: Path | None) -> list[Outcome]:
    """Run tests against the playbook of a folder or file (null: the default). Raises PlaybookInvalid."""
    loaded = load(playbook)
    return [_run(test, loaded) for test in tests]


def _run(test: PlacedCase, playbook: Playbook) -> Outcome:
    case = test.case
    sandbox = Sandbox(playbook, case.start, case.scores)
    play = _Play(sandbox, case)
    try:
        for customer, traits in case.customers.items():
            sandbox.identify(customer, **traits)
        for number, step in enumerate(case.steps, 1):
            sandbox.advance(case.instant(step.at))
            try:
                play.act(step)
            except (ValueError, KeyError) as problem:
                raise ValueError(f"step {number}: {problem.args[0]}") from problem
        sandbox.advance(case.instant(case.until))
    except (ValueError, RuntimeError) as problem:
        return Outcome(test, (str(problem),), play.story)
    faults = (*_messages(play, case), *_removals(play, case), *_journeys(play, case))
    return Outcome(test, faults, play.story, tuple(play.messages))


class _Play:
    """A case under way."""

    def __init__(self, sandbox: Sandbox, case: Case) -> None:
        self.sandbox = sandbox
        self.case = case
        self.asked: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        """What went or was answered to a request, in order of time."""
        return sorted([*self.sandbox.messages, *self.asked], key=lambda m: m.at)

    @property
    def story(self) -> tuple[str, ...]:
        return tuple(f"{d['decided_at']} {d['summary']}" for d in self.sandbox.log())

    def act(self, step: Step) -> None:
        """Let one step happen. Raises ValueError, KeyError for what the doors would refuse."""
        o, customer = self.sandbox, step.customer or ""
        if step.event is not None:
            o.track(customer, step.event, properties=step.properties)
        elif step.page is not None:
            o.page(customer, step.page, properties=step.properties)
        elif step.identify is not None:
            o.identify(customer, **step.identify)
        elif step.alias is not None:
            o.alias(customer, step.alias)
        elif step.consent is not None:
            for scope, state in step.consent.items():
                channel, _, topic = scope.partition("/")
                o.consent(customer, channel, state, topic=topic or "*")
        elif step.status is not None:
            mine = [m for m in self.messages if m.customer_id == customer]
            if not mine:
                raise ValueError(f"{customer} has had no message yet: there is nothing to be {step.status}")
            o.status(mine[-1].message_id, step.status)
        elif step.scores is not None:
            o.score(**step.scores)
        elif step.item is not None:
            o.item(step.item["item_id"], **{name: value for name, value in step.item.items() if name != "item_id"})
        elif step.envelope is not None:
            o.send(step.envelope)
        elif step.ask is not None:
            self.asked += o.ask(
                customer,
                step.ask.trigger,
                channels=step.ask.channels,
                context=step.ask.context,
                max_messages=step.ask.max_messages,
            )


def _messages(play: _Play, case: Case) -> list[str]:
    """What went beside what was expected, one after the other."""
    if case.expect.messages is None:
        return []
    wanted, came = case.expect.messages, play.messages
    faults = []
    for number in range(max(len(wanted), len(came))):
        if number >= len(came):
            faults.append(f"missing: {_wanted(wanted[number], case)}")
        elif number >= len(wanted):
            faults.append(f"not expected: {_came(came[number], case)}")
        elif differing := _differences(wanted[number], came[number], case):
            said = "; ".join(differing)
            faults.append(f"message {number + 1}: {said} (came: {_came(came[number], case)})")
    return faults


def _differences(wanted: ExpectedMessage, came: Message, case: Case) -> list[str]:
    found = []
    pairs: list[tuple[str, Any, Any]] = [
        ("customer", wanted.customer, came.customer_id),
        ("campaign", wanted.campaign, came.campaign),
        ("at", None if wanted.at is None else case.instant(wanted.at), came.at),
        ("subject", wanted.subject, came.content.get("subject")),
        *((name, getattr(wanted, name), getattr(came, name)) for name in ("channel", "trigger", "variant", "step")),
    ]
    for name, expected, actual in pairs:
        if expected is not None and expected != actual:
            found.append(f"{name} is {_shown(actual, case)}, expected {_shown(expected, case)}")
    text = "\n".join(str(part) for part in came.content.values() if part)
    found += [f"`{part}` stands nowhere in it" for part in wanted.has if part not in text]
    return found


def _removals(play: _Play, case: Case) -> list[str]:
    """The removals that were expected and are not in any decision."""
    removed = [
        (d["customer_id"], r["campaign"], r["reason"], r["channel"], r["rule"])
        for d in play.sandbox.log()
        for r in d["removed"]
    ]
    faults = []
    for one in case.expect.removed:
        key = (one.customer, one.campaign, one.reason.value, one.channel, one.rule)
        if not any(all(w is None or w == f for w, f in zip(key, found, strict=True)) for found in removed):
            others = sorted({found[2] for found in removed if found[:2] == key[:2]})
            instead = f"removed for {', '.join(others)}" if others else "it was never removed"
            faults.append(f"expected {_removal(one)}; {instead}")
    return faults


def _journeys(play: _Play, case: Case) -> list[str]:
    """The journeys that were expected and stand otherwise."""
    faults = []
    for one in case.expect.journeys:
        wanted = (one.key, one.step, one.ending)
        mine = [j for j in play.sandbox.journeys(one.customer) if j["name"] == one.journey]
        stands = [(j["key"], j["step"], j["ending"] or "none") for j in mine]
        if not any(all(w is None or w == f for w, f in zip(wanted, found, strict=True)) for found in stands):
            real = "; ".join(f"stands: {_stand(*found)}" for found in stands) or "they never set out"
            words = _stand(*wanted)
            faults.append(f"expected {one.journey} of {one.customer}{', ' if words else ''}{words}; {real}")
    return faults


def _stand(key: str | None, step: str | None, ending: str | None) -> str:
    parts = (f"for {key}" if key else "", f"at {step}" if step else "", f"ending {ending}" if ending else "")
    return ", ".join(part for part in parts if part)


def _removal(one: ExpectedRemoval) -> str:
    return f"{one.campaign} for {one.customer} removed with {one.reason.value}" + (
        f" by {one.rule}" if one.rule else ""
    )


def _wanted(one: ExpectedMessage, case: Case) -> str:
    at = "" if one.at is None else f" at {_shown(case.instant(one.at), case)}"
    return f"{one.campaign} to {one.customer}" + (f" by {one.channel}" if one.channel else "") + at


def _came(one: Message, case: Case) -> str:
    return f"{one.campaign} to {one.customer_id} by {one.channel} at {_shown(one.at, case)}"


def _shown(value: Any, case: Case) -> str:
    """A value; instants also as time since the start."""
    if not isinstance(value, datetime):
        return "nothing" if value is None else f"`{value}`"
    minutes = int((value - case.start).total_seconds() // 60)
    parts = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "m"))
    since = " ".join(f"{n}{unit}" for n, unit in parts if n) or "0m"
    return f"{since} ({format_instant(value)})"
