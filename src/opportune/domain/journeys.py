"""Journeys: who is on the way, at which step, and the steps already taken."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

#: Timers, firings and sends of a journey carry this before its name.
PREFIX = "journey:"


class Ending(StrEnum):
    """Why a customer is no longer on a journey."""

    COMPLETED = "completed"  # came to the end
    GOAL = "goal"  # reached what the journey is for
    EXIT = "exit"  # met an exit of the journey
    OPTED_OUT = "opted_out"  # said no to a channel or topic it speaks on
    TOO_LONG = "too_long"  # its maximum length is over
    STOPPED = "stopped"  # the playbook stopped the journey
    MERGED = "merged"  # another instance of the same customer had come further
    UNREADABLE = "unreadable"  # the definition it started with is gone


class Result(StrEnum):
    """What came of a step."""

    BOOKED = "booked"  # a message was reserved
    WITHHELD = "withheld"  # a message was decided and a holdout kept it back
    REFUSED = "refused"  # no message: the detail says which gate shut
    WAITED = "waited"  # the time has passed
    HAPPENED = "happened"  # what it waited for came
    TIMED_OUT = "timed_out"  # what it waited for did not come
    BRANCHED = "branched"  # a condition, or none, sent it on
    SPLIT = "split"  # chance sent it on
    ENGAGED = "engaged"  # the customer took notice
    IGNORED = "ignored"  # the customer did not take notice on any channel
    ENDED = "ended"  # the journey is over: the detail says how


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One customer on one journey, for one key. At most one runs per (customer, journey, key).

    `version`: of the definition it started with and stays on. `started_at`: when its trigger was due. `step`: the name
    of the step it stands at; `begun_at` null: not begun. `until_at`: when the step ends if nothing else does. `round`:
    of the step, its channels tried. `message_ids`: all it said, oldest first; `n_said_before`: how many of them before
    this step. `heard`: ids of events that a step has used up. `listens`: names of events that may matter now, `*` for
    any. `n_taken`: steps taken so far.
    """

    instance_id: str
    customer_id: str
    journey: str
    key: str
    version: str
    started_at: datetime
    started_by: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    step: str
    begun_at: datetime | None = None
    until_at: datetime | None = None
    round: int = 0
    message_ids: tuple[str, ...] = ()
    n_said_before: int = 0
    heard: tuple[str, ...] = ()
    listens: tuple[str, ...] = ()
    n_taken: int = 0
    ended_at: datetime | None = None
    ending: Ending | None = None

    @property
    def rule(self) -> str:
        """Name of its timer, its firings and its sends."""
        return PREFIX + self.journey


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """One step taken: a fact, whatever is learnt later. Unique by (`instance_id`, `n`), `n` counting from 1.

    `detail`: where it went on (`go`), and the message, decision, reason, condition or event that told.
    """

    instance_id: str
    n: int
    step: str
    result: Result
    at: datetime
    detail: Mapping[str, Any] = field(default_factory=dict)
