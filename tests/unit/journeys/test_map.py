"""The journey map: every step and way is in it, and what it says cannot break the diagram."""

import re
from pathlib import Path

import pytest
from tests.unit.journeys.on_the_way import playbook

from opportune.cli import main
from opportune.journeys.draw import draw
from opportune.playbook.load import load_files

STEPS = """
- {name: start, message: hello}
- wait: {for: 1d, until: 09:00}
- wait_until: {event: 'A "quoted" <event>', for: 2d}
  else: any
- branch: [{when: journey.opened_n > 0 and features.views_n_1d > 2, go: any}]
- split: {any: 1, last: 3}
- {name: any, escalate: {campaign: nudge, channels: [email, push], each: 1d}, go: end, else: last}
- {name: last, wait_until: {clicked: 1, of_last: 2, for: 1d}}
"""
JOURNEYS = load_files({"p": playbook(STEPS, "goal: order\nexit: {event: Left}").encode()}).spec.journeys


def test_mermaid_has_every_step_and_every_way() -> None:
    """Boxes by name, arrows with their reason; a step called `any` or `start` is no other box."""
    text = draw(JOURNEYS, ".mmd")
    assert text.startswith("flowchart TD\n")
    for name in ("start", "wait_2", "wait_until_3", "branch_4", "split_5", "any", "last"):
        assert re.search(rf'^ +j__{name}[\[{{]"', text, re.MULTILINE), name
    for way in (
        'j___start(["signed_up"]) --> j__start', 'j__wait_until_3 -->|"not within 2d"| j__any',
        'j__split_5 -->|"75%"| j__last', 'j__any -->|"ignored"| j__last', 'j__last -->|"happened"| j___end',
        'j___any(["any step"]) -.->|"goal order"| j___end',
    ):  # fmt: skip
        assert way in text, way
    assert 'j__start["start: say hello"]' in text
    assert "#quot;quoted#quot; #lt;event#gt;" in text
    assert draw(JOURNEYS, ".md") == f"```mermaid\n{text}```\n"


def test_graphviz_has_the_same() -> None:
    """Quotes are escaped, brackets close."""
    text = draw(JOURNEYS, ".dot")
    assert '"j.any" -> "j.last" [label="ignored"];' in text
    assert '\\"quoted\\"' in text
    assert text.count("{") == text.count("}")


def test_the_command_draws_into_a_file_and_says_what_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check FOLDER --map FILE`; another ending, or no journey, is one line and an exit code."""
    folder = tmp_path / "playbook"
    folder.mkdir()
    (folder / "p.yaml").write_text(playbook(STEPS))
    target = tmp_path / "journeys.mmd"
    with pytest.raises(SystemExit) as end:
        main(["check", str(folder), "--map", str(target)])
    assert not end.value.code
    assert target.read_text().startswith("flowchart")
    with pytest.raises(SystemExit) as end:
        main(["check", str(folder), "--map", str(tmp_path / "journeys.png")])
    assert end.value.code
    assert "a map ends in .mmd, .md, .dot" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no journey"):
        draw({}, ".mmd")
