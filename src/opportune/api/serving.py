"""The application one serving process runs: parts from the environment, champions kept fresh by a background thread."""

import threading

from fastapi import FastAPI

from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.flows.scoring import keep_fresh
from opportune.wiring import Installation


def from_environment() -> FastAPI:
    """The factory uvicorn calls in each serving process. Imports no mlflow."""
    installation = Installation()
    desk = installation.desk

    def warm() -> None:
        installation.scorer.refresh()
        threading.Thread(
            target=keep_fresh, args=(installation.scorer, threading.Event()), name="opportune-champions", daemon=True
        ).start()

    return create_app(Parts(settings=installation.settings, desk=desk, warm=warm))
