"""Suppression lists from CSV."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from opportune.adapters.suppression_files import read_suppressions
from opportune.cli import cli
from opportune.domain.suppressions import ListedBy, named

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def read(folder: Path, text: str) -> list[object]:
    file = folder / "list.csv"
    file.write_text(text, encoding="utf-8-sig")
    return list(read_suppressions(file, NOW))


def test_each_row_names_one_with_its_purpose_state_and_source(tmp_path: Path) -> None:
    """Columns in any order, others passed over, empty rows too; the file's name is the source where none is given."""
    found = read(
        tmp_path, "note,email,customer_id,purpose,state,source\nx,Ada@x.org,,,,\n,,c1,marketing,off,crm\n,,,,,\n"
    )
    assert found == [
        named("email", "ada@x.org", "all", True, "list.csv", NOW),
        named("customer_id", "c1", "marketing", False, "crm", NOW),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name\nx\n", "the header names none of"),
        ("email,phone\na@b.c,+441234\n", "list.csv:2: one of email, phone must be filled in; 2 are"),
        ("email\nok@x.y\nnobody\n", "list.csv:3: email `nobody`: it is no e-mail address"),
        ("email,state\na@b.c,maybe\n", "list.csv:2: state is `maybe`: write on or off"),
        ("email_sha256\nxyz\n", "it is no SHA-256"),
    ],
)
def test_a_fault_names_file_line_and_what_is_wrong(tmp_path: Path, text: str, fault: str) -> None:
    """Nothing of such a file is taken in."""
    with pytest.raises(ValueError, match=re.escape(fault)):
        read(tmp_path, text)


def test_opportune_ingest_takes_a_list_in_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same file again changes nothing; a file with a fault is refused whole."""
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPPORTUNE_DATABASE_URL", raising=False)
    (tmp_path / "list.csv").write_text("phone\n+44 7700 900000\n0044 7700 900001\n")
    (tmp_path / "bad.csv").write_text("phone\n+44 7700 900002\nnone\n")
    run = CliRunner()
    told = [run.invoke(cli, ["ingest", str(tmp_path / "list.csv"), "--format", "suppressions"]) for _ in range(2)]
    assert [t.output.strip() for t in told] == [
        "2 entries read, 2 of them news", "2 entries read, 0 of them news",
    ]  # fmt: skip
    bad = run.invoke(cli, ["ingest", str(tmp_path / "bad.csv"), "--format", "suppressions"])
    assert bad.exit_code == 1
    assert "bad.csv:3" in bad.output
    assert {by.value for by in ListedBy} == {"customer_id", "email", "phone"}
