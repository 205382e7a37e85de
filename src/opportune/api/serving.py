"""The application one serving process runs: parts from the environment, champions kept fresh by a background thread."""

import threading
import time
from datetime import datetime
from functools import partial

from fastapi import FastAPI

from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.flows.replay import Passage, pass_time
from opportune.flows.scoring import keep_fresh
from opportune.wiring import Installation

#: How long a call waits for another that is moving the replay clock.
WAIT_S = 60.0


def from_environment() -> FastAPI:
    """The factory uvicorn calls in each serving process. Imports no mlflow."""
    installation = Installation()
    desk = installation.desk

    def warm() -> None:
        installation.scorer.refresh()
        threading.Thread(
            target=keep_fresh, args=(installation.scorer, threading.Event()), name="opportune-champions", daemon=True
        ).start()

    advance = partial(make_time_pass, installation) if installation.settings.clock == "replay" else None
    return create_app(Parts(settings=installation.settings, desk=desk, warm=warm, advance=advance))


def make_time_pass(installation: Installation, to: datetime) -> Passage:
    """Everything due up to `to`, in order. Raises ValueError when `to` is earlier than now, Unavailable."""
    i = installation
    give_up_at = time.monotonic() + WAIT_S

    def wait() -> bool:
        time.sleep(0.02)
        return time.monotonic() < give_up_at

    owner = f"{i.owner}:{threading.get_ident()}"
    return pass_time(to, i.desk, i.courier, i.replay_clock, owner, i.wall, wait)
