"""Real input, end to end, by the commands a user types: a part of the UCI Online Retail file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
OPPORTUNE = Path(sys.executable).with_name("opportune")


def data_file(name: str) -> Path:
    """A file of the real data; skips where it is not."""
    path = Path(os.environ.get("OPPORTUNE_TEST_DATA", ROOT / ".." / "shared" / "data")) / name
    if not path.exists():
        pytest.skip(f"the real data is not here ({name}): set OPPORTUNE_TEST_DATA to its folder")
    return path


def opportune(home: Path, *arguments: str, code: int = 0) -> str:
    """Run a command; what it printed."""
    done = subprocess.run(
        [OPPORTUNE, *arguments],
        env={**os.environ, "OPPORTUNE_HOME": str(home), "OMP_NUM_THREADS": "1"},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.data
def test_a_part_of_the_retail_file_from_import_to_decisions(tmp_path: Path) -> None:
    """Import, train as of a date, decide as of that date: an honest model beside its baseline."""
    lines = pd.read_parquet(data_file("online_retail_dev.parquet"))
    customers = sorted(lines["CustomerID"].dropna().unique())[::2]
    part = tmp_path / "part.parquet"
    lines[lines["CustomerID"].isin(customers)].to_parquet(part)
    home = tmp_path / "home"

    first = json.loads(opportune(home, "ingest", str(part), "--format", "retail", "--json"))
    assert first["n_accepted"] == first["n_read"] > 3000
    assert first["n_refused"] == 0
    again = json.loads(opportune(home, "ingest", str(part), "--format", "retail", "--json"))
    assert again["n_accepted"] == 0
    assert again["n_duplicate"] == first["n_accepted"]

    report: dict[str, Any] = json.loads(opportune(home, "train", "purchase", "--as-of", "2011-08-31", "--json"))[0]
    assert report["verdict"] in ("promoted", "prior")
    table = {row["model"]: row for row in report["table"]}
    model, baseline = table["model"], table["baseline"]
    assert model["cohort"] == baseline["cohort"] == "2011-08-01T00:00:00+00:00"
    assert 0.62 < model["auc"] < 0.88, "far above the usual 0.74 would mean leakage"
    assert abs(model["auc"] - baseline["auc"]) < 0.08

    out = tmp_path / "d.parquet"
    told = json.loads(opportune(home, "decide", "--at", "2011-08-31", "--out", str(out), "--json"))
    decided = pd.read_parquet(out)
    known = lines[lines["CustomerID"].isin(customers) & (lines["InvoiceDate"] <= "2011-08-31")]
    assert told["n_customers"] == len(decided) == known["CustomerID"].nunique()
    assert decided["p_purchase"].between(0, 1).all()
    assert decided["p_purchase"].nunique() > 50
    assert not decided["in_sample"].any()
    listed = json.loads(opportune(home, "models", "list", "--json"))
    assert [v["is_champion"] for v in listed["purchase"]] == [True]
    tail = json.loads(opportune(home, "events", "decisions", "--json"))
    assert tail == [], "a dry run leaves nothing in the log"
