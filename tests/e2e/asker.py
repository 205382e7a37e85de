"""One process of the cap test: asks for the same customers in an order of its own, and prints how many it got.

`python asker.py DATABASE_URL PLAYBOOK_FOLDER N_CUSTOMERS N_ASKS SEED`
"""

import random
import sys
import uuid
from pathlib import Path

from tests.desks import EmptyShelf, FakeFeatureStore

from opportune.adapters.sql_ledger import SqlLedger
from opportune.adapters.system_clock import WallClock
from opportune.domain.decisions import Ask, Decision
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.scoring import Scorer
from opportune.playbook.load import load


def main(url: str, folder: str, n_customers: int, n_asks: int, seed: int) -> None:
    """Ask in batches of 1 to 20, customers mixed."""
    desk = Desk(
        ledger=SqlLedger(url),
        features=FakeFeatureStore(),
        scorer=Scorer(EmptyShelf(), ()),
        playbook=load(Path(folder)),
        clock=WallClock(),
        secret=b"test secret",
        code_version="test",
        new_id=lambda: uuid.uuid4().hex,
    )
    draw = random.Random(seed)
    granted = left = 0
    left = n_asks
    while left:
        size = min(left, draw.randint(1, 20))
        asks = [Ask(customer_id=f"c{draw.randrange(n_customers)}") for _ in range(size)]
        answers = decide(asks, desk)
        assert all(isinstance(a, Decision) for a in answers)
        granted += sum(len(a.messages) for a in answers if isinstance(a, Decision))
        left -= size
    print(granted)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
