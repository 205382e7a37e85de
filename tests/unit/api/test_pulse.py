"""The pulse of ingestion at the door."""

import asyncio
import time
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from tests.unit.api.conftest import NOW, House

from opportune.api.app import create_app
from opportune.api.pulse import pulse
from opportune.flows.health import INGESTION, minute_of
from opportune.ports import Unavailable


def watched(house: House) -> TestClient:
    """The same house on the wall's time."""
    desk = replace(house.parts.desk, is_watching=True)
    return TestClient(create_app(replace(house.parts, desk=desk)))


def test_a_serving_process_gives_signs_of_life_and_shows_them(house: House) -> None:
    """From the moment it serves; metrics say that the source is well."""
    with watched(house) as client:
        for _ in range(200):
            with house.ledger.read() as uow:
                if found := uow.sources.minutes(INGESTION, minute_of(NOW)):
                    break
            time.sleep(0.01)
        assert found == [(minute_of(NOW), 1)]
        assert 'opportune_source_well{source="ingestion"} 1.0' in client.get("/metrics").text


def test_off_the_wall_clock_there_is_no_pulse(house: House) -> None:
    """Replayed history counts as complete; no figure is shown."""
    assert "opportune_source_well{" not in house.client.get("/metrics").text
    with house.ledger.read() as uow:
        assert uow.sources.minutes(INGESTION, minute_of(NOW)) == []


@pytest.mark.parametrize("fault", [Unavailable("down"), RuntimeError("queue is stuck")])
def test_ingestion_that_does_not_work_gives_no_sign(house: House, fault: Exception) -> None:
    """Up is not enough: events must come through. When they do again, so does the pulse."""
    n_asked = 0

    async def through() -> None:
        nonlocal n_asked
        n_asked += 1
        if n_asked < 3:
            raise fault

    async def a_while() -> None:
        beating = asyncio.create_task(pulse(through, house.ledger, house.clock, every_s=0.001))
        while n_asked < 4:
            await asyncio.sleep(0.001)
            if n_asked < 3:
                with house.ledger.read() as uow:
                    assert uow.sources.minutes(INGESTION, minute_of(NOW)) == []
        beating.cancel()

    asyncio.run(a_while())
    with house.ledger.read() as uow:
        assert uow.sources.minutes(INGESTION, minute_of(NOW)) != []
