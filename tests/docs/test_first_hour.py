"""What a newcomer meets first is true: commands with examples, settings in the docs, public names, the page itself."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import opportune
from opportune.cli import COMMANDS, SUMMARIES, cli, main
from opportune.playbook.load import load_files
from opportune.playbook.mapping import ColumnMapping, parse_mapping
from opportune.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "first-hour.md").read_text()


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand with its full name."""
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield f"{name} {inner}", found


@pytest.mark.parametrize(("name", "command"), [pytest.param(n, c, id=n) for n, c in commands()])
def test_every_command_has_an_example_and_a_sentence_in_its_help(name: str, command: click.Command) -> None:
    """`--help` shows how it is called."""
    shown = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert f"opportune {name.split()[0]}" in (command.epilog or "")
    assert (command.epilog or "").startswith("Example:")
    assert command.help


def test_help_lists_every_command_and_the_first_six_first() -> None:
    """demo, init, serve, ingest, check, explain are what a newcomer needs."""
    assert list(COMMANDS)[:6] == ["demo", "init", "serve", "ingest", "check", "explain"]
    assert list(SUMMARIES) == list(COMMANDS)


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_every_setting_is_documented(setting: str) -> None:
    """docs/operations.md has a row for each."""
    assert f"| `OPPORTUNE_{setting.upper()}` |" in (DOCS / "operations.md").read_text()


def test_no_setting_is_documented_that_does_not_exist() -> None:
    """And no row for what is gone."""
    rows = re.findall(r"^\| `OPPORTUNE_(\w+)` \|", (DOCS / "operations.md").read_text(), re.MULTILINE)
    assert {row.lower() for row in rows} <= set(Settings.model_fields)


def test_the_public_names_are_exactly_these() -> None:
    """A name added here is a promise."""
    assert opportune.__all__ == ["Home", "Message", "Sandbox", "__version__", "open", "sandbox"]
    assert dir(opportune) == sorted(opportune.__all__)
    assert all(getattr(opportune, name) is not None for name in opportune.__all__)
    public = {name for name in vars(opportune.Home) if not name.startswith("_")}
    assert public == {
        "close", "decide", "decide_all", "decisions", "explain", "exposures", "features", "ingest", "messages",
        "outcomes", "report", "to_arrow", "train",
    }  # fmt: skip
    assert {name for name in vars(opportune.Sandbox) if not name.startswith("_")} == {
        "advance", "alias", "ask", "consent", "customer", "decide", "decisions", "deliver", "explain", "identify",
        "item", "journeys", "log", "messages", "now", "page", "score", "send", "status", "track",
    }  # fmt: skip
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = opportune.nope


def test_importing_the_package_imports_nothing_heavy() -> None:
    """`import opportune` is free; what is used is imported when it is used."""
    code = "import sys, opportune; print(sorted({'numpy', 'pandas', 'pydantic', 'feast', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_mapping_on_the_page_is_one_and_every_key_is_explained() -> None:
    """docs/first-hour.md shows a mapping that can be used, and has a row for each key."""
    example = re.search(r"```yaml mapping\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    parse_mapping(example[1].encode(), "page")
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert set(ColumnMapping.model_fields) <= rows


def test_the_sandbox_test_on_the_page_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Written against what `opportune init` writes."""
    with pytest.raises(SystemExit):
        main(["init", str(tmp_path / "my-shop")])
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    (tmp_path / "test_mine.py").write_text(example[1])
    names: dict[str, object] = {}
    exec(compile(example[1].replace('"my-shop"', repr(str(tmp_path / "my-shop"))), "page", "exec"), names)
    tests = [f for n, f in names.items() if n.startswith("test_")]
    assert tests
    for test in tests:
        test()  # type: ignore[operator]
    assert load_files({"p": (tmp_path / "my-shop" / "playbook.yaml").read_bytes()}).warnings == ()
