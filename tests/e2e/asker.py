"""One process of the cap test: asks for the same customers in an order of its own, and prints how many it got.

`python asker.py DATABASE_URL PLAYBOOK_FOLDER N_ASKS N_PROCESSES NUMBER`. Between its asks it merges its share of the
pairs (see caps_load.py), so that merges happen under load.
"""

import random
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from tests.desks import EmptyShelf, FakeFeatureStore
from tests.e2e.caps_load import N_PAIRS, alias, who

from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.domain.decisions import Ask, Decision
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest
from opportune.flows.scoring import Scorer
from opportune.playbook.load import load


def main(url: str, folder: str, n_asks: int, n_processes: int, number: int) -> None:
    """Ask in batches of 1 to 20, customers mixed; merge one's own pairs, evenly spread over the asks."""
    desk = Desk(
        ledger=SqlLedger(url, migrate=False),
        features=FakeFeatureStore(),
        scorer=Scorer(EmptyShelf(), ()),
        playbook=load(Path(folder)),
        clock=WallClock(),
        secret=b"test secret",
        code_version="test",
        new_id=lambda: uuid.uuid4().hex,
    )
    draw = random.Random(number)
    mine = list(range(number, N_PAIRS, n_processes))
    merge_every = n_asks / (len(mine) + 1)
    granted = asked = 0
    while asked < n_asks:
        asks = [Ask(customer_id=who(draw)) for _ in range(min(n_asks - asked, draw.randint(1, 20)))]
        answers = decide(asks, desk)
        assert all(isinstance(a, Decision) for a in answers)
        granted += sum(len(a.messages) for a in answers if isinstance(a, Decision))
        asked += len(asks)
        while mine and asked > (n_asks - merge_every * len(mine)):
            ingest([alias(mine.pop(), datetime.now(UTC))], [], desk.ledger, desk.playbook, desk.clock)
    print(granted)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
