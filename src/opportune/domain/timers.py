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
