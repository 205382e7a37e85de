"""The playbook reference is true: its examples load, and no key, function or filter is left out."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from opportune.domain.journeys import Ending
from opportune.playbook import cases, journeys, limits, schema, sources, triggers
from opportune.playbook.conditions import _FUNCTIONS, ROOTS
from opportune.playbook.load import EXAMPLES, load_files
from opportune.playbook.templates import _FILTERS

PAGE = (Path(__file__).parents[2] / "docs" / "playbook.md").read_text()
#: block of the schema -> heading, and what its keys begin with in the table
HEADING = {
    "PlaybookSpec": ("The whole", ""),
    "Goal": ("Goals", ""),
    "Topic": ("Topics", ""),
    "ConsentPolicy": ("Consent", ""),
    "QuietHours": ("Quiet hours", ""),
    "Cap": ("Caps", ""),
    "Counts": ("Caps", "counts."),
    "Adapt": ("Caps", "adapt."),
    "Trigger": ("Triggers", ""),
    "On": ("Triggers", "on."),
    "Occasion": ("Occasions", ""),
    "Campaign": ("Campaigns", ""),
    "Variant": ("Campaigns", "variants.*."),
    "Content": ("Campaigns", "content.*."),
    "Journey": ("Journeys", ""),
    "Leave": ("Journeys", "exit.*."),
    "Step": ("Journeys", "steps.*."),
    "Said": ("Journeys", "steps.*.message."),
    "Pause": ("Journeys", "steps.*.wait."),
    "Awaited": ("Journeys", "steps.*.wait_until."),
    "Way": ("Journeys", "steps.*.branch.*."),
    "Escalation": ("Journeys", "steps.*.escalate."),
    "Exploration": ("Exploration", ""),
    "Experiment": ("Experiments", ""),
    "Variation": ("Experiments", "variations.*."),
    "Holdout": ("Holdout", ""),
    "SendTime": ("Send time", ""),
    "Source": ("Sources", ""),
    "Heartbeat": ("Sources", "heartbeat."),
    "MinRate": ("Sources", "min_rate."),
}
#: Blocks that are shown by their parts alone.
PARENTS = {"heartbeat", "min_rate"}
BLOCKS = {
    name: block
    for module in (schema, limits, sources, triggers, journeys)
    for name, block in vars(module).items()
    if isinstance(block, type) and issubclass(block, BaseModel) and block.__module__ == module.__name__
}


def section(heading: str) -> str:
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_all_examples_of_the_page_load_as_one_playbook_without_a_warning() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    playbook = load_files({f"example {n:02}": text.encode() for n, text in enumerate(examples)})
    idle = "no campaign or journey uses this trigger"  # most kinds are shown without words to say
    assert [w for w in playbook.warnings if idle not in w.message] == []
    assert len(examples) >= 8


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_every_key_of_the_schema_is_documented_with_its_block(name: str) -> None:
    heading, prefix = HEADING[name]
    keys = {f"{prefix}{field.alias or key}" for key, field in BLOCKS[name].model_fields.items()} - PARENTS
    rows = set(re.findall(r"^\| `([\w.*]+)` \|", section(heading), re.MULTILINE))
    assert keys <= rows, keys - rows


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_every_key_of_the_schema_stands_in_an_example_of_the_page(name: str) -> None:
    """So that it was loaded at least once as the page shows it."""
    examples = "\n".join(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    keys = {field.alias or key for key, field in BLOCKS[name].model_fields.items()} - {"end"}  # `- end` has no value
    assert {key for key in keys if not re.search(rf"(?<![\w.]){key}:", examples)} == set()


def test_every_act_and_key_of_a_playbook_test_is_documented() -> None:
    """What the reader of tests knows, the page says."""
    page = section("Tests")
    assert {act for act in cases.ACTS if f"| `{act}` |" not in page} == set()
    blocks = (cases.ExpectedMessage, cases.ExpectedRemoval, cases.ExpectedJourney, cases.Case, cases.Expected)
    keys = {field.alias or key for block in blocks for key, field in block.model_fields.items()}
    assert {key for key in keys if f"`{key}`" not in page} == set()
    assert {ending for ending in Ending if ending not in page} == set()


def test_every_example_file_is_listed() -> None:
    """And nothing is listed that is not there."""
    rows = re.findall(r"^\| ((?:`\w+` ?)+)\|", section("Examples"), re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == {file.stem for file in EXAMPLES.glob("*.yaml")}


def test_every_documented_key_exists() -> None:
    for heading in {heading for heading, _ in HEADING.values()}:
        rows = set(re.findall(r"^\| `([\w.*]+)` \|", section(heading), re.MULTILINE))
        known = {
            f"{prefix}{field.alias or key}"
            for name, (title, prefix) in HEADING.items()
            if title == heading
            for key, field in BLOCKS[name].model_fields.items()
        }
        assert rows <= known, rows - known


def test_every_function_root_and_filter_is_documented() -> None:
    conditions, templates = section("Conditions"), section("Templates")
    assert all(f"`{name}(" in conditions for name in _FUNCTIONS)
    assert all(f"`{root}.*`" in conditions for root in ROOTS)
    listed = set(re.search(r"Filters: `(.*?)`", templates, re.DOTALL)[1].split())  # type: ignore[index]
    assert listed == {*_FILTERS, "money"}
