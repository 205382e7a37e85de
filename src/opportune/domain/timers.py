"""Timers: every firing of a trigger is a timer, due now or later."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """Unique by (`rule`, `customer_id`, `key`): setting it again restarts it (new `due_at`, `set_by`, `version` + 1).

    `rule` is the trigger's name (journeys: `journey:<name>`). `payload` carries the envelope's properties that
    conditions and content may read when it fires. `set_by` is the message id that set it.
    """

    rule: str
    customer_id: str
    key: str
    due_at: datetime
    set_at: datetime
    set_by: str
    expires_at: datetime | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


class TimerFate(StrEnum):
    """Why a timer left the hot table."""

    FIRED = "fired"
    CANCELLED = "cancelled"
    CONDITION_FALSE = "condition_false"
    EXPIRED = "expired"
    RULE_GONE = "rule_gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTimer:
    """A timer that has left the hot table: `set_at` and `set_by` say what had set it, `at` when it left and why."""

    rule: str
    key: str
    set_at: datetime
    set_by: str
    fate: TimerFate
    at: datetime

    @property
    def is_done(self) -> bool:
        """True when it was due and had its turn, whatever came of it; false when it was taken back."""
        return self.fate is not TimerFate.CANCELLED
