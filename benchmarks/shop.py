"""The history the benchmarks run on: a sample world, renamed so that customers are c0, c1, ..."""

from datetime import UTC, datetime
from pathlib import Path

import orjson


def write_shop(path: Path, n_customers: int) -> None:
    """Six months of events of `n_customers` as JSON lines."""
    from opportune.world import World, WorldConfig

    world = World(WorldConfig(n_customers=n_customers), seed=3, end=datetime.now(UTC))
    names: dict[str, str] = {}
    with path.open("wb") as file:
        for event in world.events():
            if event.get("userId"):
                event["userId"] = names.setdefault(event["userId"], f"c{len(names)}")
            file.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
