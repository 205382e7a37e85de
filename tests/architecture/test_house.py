"""The house keeps its own rules: floors, file sizes, names, one closed list of reasons."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "opportune"
FILES = sorted(SOURCE.rglob("*.py"))
PER_FILE = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))


def test_no_file_grows_over_350_lines() -> None:
    """A file that grows past 350 lines is split."""
    long = {str(p.relative_to(ROOT)): n for p in FILES if (n := len(p.read_text().splitlines())) > 350}
    assert not long


def test_no_room_has_a_name_that_says_nothing() -> None:
    """No room or file is called utils, helpers, common, base, manager or service."""
    empty = {"utils", "helpers", "common", "base", "manager", "service"}
    assert not [p for p in SOURCE.rglob("*") if p.stem in empty]


def test_no_unfinished_work_or_silenced_errors() -> None:
    """No stub, no TODO, no swallowed exception."""
    pattern = re.compile(r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b|except( Exception)?: *pass")
    found = [f"{p.relative_to(ROOT)}: {m[0]}" for p in FILES if (m := pattern.search(p.read_text()))]
    assert not found


def test_no_clock_or_randomness_is_reached_for_in_the_core() -> None:
    """Pure rooms take the moment and the draw as arguments."""
    rooms = ["domain", "features", "playbook", "decision", "journeys", "content", "experiments"]
    pattern = re.compile(r"datetime\.now\(|utcnow\(|time\.time\(|\brandom\.|uuid4\(|default_rng\(\)")
    found = [
        f"{p.relative_to(ROOT)}: {m[0]}"
        for room in rooms
        for p in (SOURCE / room).rglob("*.py")
        if (m := pattern.search(p.read_text()))
    ]
    assert not found


def test_a_planted_import_from_core_to_adapters_breaks_the_contracts(tmp_path: Path) -> None:
    """lint-imports fails when a pure room reaches for a library of the outside or a higher floor."""
    shutil.copytree(SOURCE, tmp_path / "src" / "opportune", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "src" / "opportune" / "decision" / "planted.py"
    planted.write_text("import sqlalchemy\nfrom opportune import wiring\n\n__all__ = ['sqlalchemy', 'wiring']\n")
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": "src"}, check=False
    )
    assert done.returncode != 0
    assert "BROKEN" in done.stdout
