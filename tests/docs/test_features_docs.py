"""The page about features is true: its table is the catalogue, and its five lines make a feature.

`python -m tests.docs.test_features_docs` writes the table anew.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from opportune.features.catalog import FEATURES
from opportune.features.declare import Feature, over

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "features.md"
_PLACE = re.compile(r"(<!-- features -->\n).*(<!-- /features -->)", re.DOTALL)
SCRIPT = """
import json, sys
from datetime import timedelta
from pathlib import Path
from tests.contract.test_offline_online import frame, pairs_of
from tests.unit.features.naive import NOON, event
from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.feast_features import FeastFeatures
from opportune.domain.instants import to_us
from opportune.domain.states import StateRow
from opportune.features.sources import sources
from opportune.features.state import finalise, pack, rebuild

home, name = Path(sys.argv[1]), sys.argv[2]
log = [event(f"m{i}", "Order Refunded", NOON - timedelta(days=40 * i), total=10 + i) for i in range(4)]
state = rebuild(log)
offline = DuckDbOffline(home)
told = {
    "online": finalise(state, NOON)[name],
    "offline": offline.as_of(frame([("c1", NOON)]), pairs_of(log), [])[name].tolist()[0],
    "trained": offline.training_set(frame([("c1", NOON)]), pairs_of(log), [], [name])[name].tolist()[0],
    "n_sources": len(sources(log, NOON)[name]),
}
store = FeastFeatures(home)
store.project([StateRow(customer_id="c1", version=1, state=pack(state), committed_at=NOON)])
read = store.store().get_online_features(
    features=[f"customer_features_now:{name}"], entity_rows=[{"customer_id": "c1", "at_us": to_us(NOON)}]
)
told["feast"] = read.to_dict()[name][0]
print(json.dumps(told))
"""


def table() -> str:
    """The catalogue as Markdown."""
    lines = ["| feature | what | window | unit | null |", "|---|---|---|---|---|"]
    lines += [
        f"| `{f.name}` | {f.description} | {_window(f)} | {f.dtype}{f' of {f.size}' if f.size > 1 else ''}: {f.unit} "
        f"| {f.null_meaning} |"
        for f in FEATURES
    ]
    return "\n".join(lines) + "\n"


def _window(feature: Feature) -> str:
    if not feature.tap:
        return "of " + ", ".join(f"`{name}`" for name in feature.inputs)
    return over(feature.window)


def test_the_table_is_the_catalogue() -> None:
    """Every feature is in the page with its meaning, window, unit and null."""
    page = PAGE.read_text(encoding="utf-8")
    assert table() in page, "run `python -m tests.docs.test_features_docs`"


def test_five_lines_of_catalogue_make_a_feature_everywhere(tmp_path: Path) -> None:
    """The lines of the page, added to a copy of the catalogue, are served, trained on, traced and read by Feast."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    lines = found[1]
    assert len(lines.splitlines()) == 5
    ignore = shutil.ignore_patterns("__pycache__", "static")
    shutil.copytree(ROOT / "src" / "opportune", tmp_path / "src" / "opportune", ignore=ignore)
    shutil.copytree(ROOT / "feature_repo", tmp_path / "feature_repo", ignore=ignore)
    catalogue = tmp_path / "src" / "opportune" / "features" / "catalog.py"
    text = catalogue.read_text(encoding="utf-8")
    end = ")  # fmt: skip\n\nNAMES"
    assert text.count(end) == 1
    catalogue.write_text(text.replace(end, lines + end), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "home"), "refund_sum_90d"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path / 'src'}:{ROOT}"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"online": 33.0, "offline": 33.0, "trained": 33.0, "n_sources": 3, "feast": 33.0}


if __name__ == "__main__":
    written = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_PLACE.sub(lambda found: found[1] + table() + found[2], written), encoding="utf-8")
