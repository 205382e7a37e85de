"""The examples keep their promises, and leave no kind of trigger and no step of a journey out."""

from pathlib import Path
from typing import Any, get_args

import pytest

from opportune.playbook import load as loading
from opportune.playbook.check import check
from opportune.playbook.journeys import STEP_KINDS
from opportune.playbook.lines import read_yaml
from opportune.playbook.load import load
from opportune.playbook.triggers import KINDS, Change, Trigger
from opportune.rehearsal import cases_of, rehearse

EXAMPLES = sorted(loading.EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_loads_without_a_warning_and_keeps_its_promises(file: Path) -> None:
    """Every example is a whole playbook in one file; its tests say what is sent, and what is not."""
    report = check(file)
    assert (report.problems, report.warnings) == ((), ())
    tests = cases_of(file)
    assert {o.test.name: o.faults for o in rehearse(tests, file) if not o.has_passed} == {}
    assert len(tests) >= 2
    assert any(test.case.expect.messages for test in tests)


def as_written(file: Path) -> Any:
    """The YAML alone, without defaults."""
    return read_yaml(file.read_bytes(), file.name)[0]


def test_every_kind_of_trigger_every_change_and_every_step_has_its_example() -> None:
    """What the schema knows and no example shows would be missed here; so would a test without its example."""
    specs = [load(file).spec for file in EXAMPLES]
    triggers = [trigger for spec in specs for trigger in spec.triggers.values()]
    assert {trigger.kind for trigger in triggers} == set(KINDS)
    assert {trigger.change for trigger in triggers} == {None, *get_args(Change)}
    written = {key for file in EXAMPLES for trigger in as_written(file)["triggers"].values() for key in trigger}
    known = {field.alias or name for name, field in Trigger.model_fields.items()}
    assert known <= written, known - written
    steps = {step.kind for spec in specs for journey in spec.journeys.values() for step in journey.steps}
    assert steps == set(STEP_KINDS)
    assert {file.name for file in EXAMPLES} == {file.name for file in (EXAMPLES[0].parent / "tests").iterdir()}


def test_every_example_begins_with_what_it_shows() -> None:
    """The first line is for editors, the second says in a sentence what the file is about."""
    for file in EXAMPLES:
        first, second = file.read_text().splitlines()[:2]
        assert first == "# yaml-language-server: $schema=../schema.json"
        assert second.startswith("# ")
        assert len(second) > 40
