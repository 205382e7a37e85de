"""The notebooks run from top to bottom on a machine with nothing prepared, and are kept without outputs."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
PER_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def test_there_are_the_two_a_newcomer_needs() -> None:
    assert [p.stem for p in NOTEBOOKS][:2] == [
        "01-from-raw-events-to-decisions",
        "02-your-own-file-to-a-calibrated-score",
    ]


@PER_NOTEBOOK
def test_no_outputs_are_kept(path: Path) -> None:
    """What is shown is made anew; nobody's data lies in the repository."""
    cells = json.loads(path.read_text())["cells"]
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells if c["cell_type"] == "code")


@PER_NOTEBOOK
def test_it_runs_and_leaves_nothing_behind(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executed as written, with its temporary folder inside this test's."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("OPPORTUNE_HOME", str(tmp_path / "unused"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before, where = path.read_bytes(), {"metadata": {"path": str(tmp_path)}}
    NotebookClient(nbformat.read(path, 4), timeout=300, kernel_name="python3", resources=where).execute()
    assert path.read_bytes() == before
    assert not (tmp_path / "unused").exists()
