"""Golden decisions: what was decided for a stored case is decided again, to the letter."""

import orjson
import pytest
from tests.golden.stories import HERE, golden_playbook

from opportune.decision import record
from opportune.decision.pipeline import decide

FILES = sorted((HERE / "decisions").glob("*.json"))
BOOK = golden_playbook()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_stored_case_gives_the_stored_decision(file):
    """A difference is a fault, or meant: then run `python -m tests.golden.stories` and read what changed."""
    story = orjson.loads(file.read_bytes())
    decision = decide(record.case_from_json(orjson.dumps(story["case"])), BOOK)
    assert orjson.loads(record.decision_to_json(decision)) == story["decision"]


def test_there_are_golden_decisions():
    """The folder is not empty by accident."""
    assert len(FILES) >= 13
