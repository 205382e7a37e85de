"""The examples keep their promises, and leave no kind of trigger out."""

from pathlib import Path

import pytest

from opportune.playbook.load import DEFAULT, load
from opportune.playbook.triggers import KINDS
from opportune.rehearsal import cases_of, rehearse

EXAMPLES = sorted((DEFAULT.parent / "examples").glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_loads_without_a_warning_and_passes_its_own_tests(file: Path) -> None:
    """Every example is a whole playbook in one file; its tests show what is sent, and at least one shows silence."""
    playbook = load(file)
    assert playbook.warnings == ()
    tests = cases_of(file)
    assert {o.test.name: o.faults for o in rehearse(tests, file) if not o.has_passed} == {}
    assert any(test.case.expect.messages for test in tests)
    assert len(tests) >= 2
