"""A courier for development: each message becomes one JSON file, named by its message id."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import orjson

from opportune.domain.instants import format_instant
from opportune.domain.messages import Send
from opportune.ports import Unavailable


class FileCourier:
    """Writes `<folder>/<message_id>.json` atomically: delivering the same message again changes nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def deliver(self, sends: Sequence[Send], at: datetime) -> None:
        """Hand over all, or raise Unavailable (disk full, folder not writable); already written files stay."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for send in sends:
                body = {
                    "message_id": send.message_id,
                    "customer_id": send.customer_id,
                    "decision_id": send.decision_id,
                    "campaign": send.campaign,
                    "trigger": send.trigger,
                    "channel": send.channel,
                    "variant": send.variant,
                    "handed_off_at": format_instant(at),
                    **dict(send.payload),
                }
                target = self._folder / f"{send.message_id}.json"
                part = target.with_suffix(f".{os.getpid()}.part")
                part.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
                part.replace(target)
        except OSError as problem:
            raise Unavailable(f"the file sink {self._folder} cannot be written: {problem}") from problem
