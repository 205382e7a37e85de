"""Scores against the truth of the sample world: `python -m benchmarks.truth --customers 5000 --seeds 1 2 3`.

Each seed is a world of its own (docs/world.md). Its history goes into a ledger and the archive, the models are trained
by the flow that `opportune train` runs, and score every customer at the world's end. The world knows the exact
probability given the observable history, and what then happens. Slope: of a logistic regression on the log-odds of the
score, against what happened and (with far less noise) against the true probability. AUC: against what happened.
"""

import argparse
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.adapters.memory_ledger import MemoryLedger
from opportune.adapters.parquet_archive import ParquetArchive
from opportune.adapters.system_clock import FixedClock
from opportune.domain import identity
from opportune.domain.customers import Customer
from opportune.domain.events import Event
from opportune.domain.traits import fold
from opportune.features import vector
from opportune.flows.publish import archive_events
from opportune.flows.train import TrainReport, train
from opportune.flows.train_hours import _offset_h
from opportune.learning import manifest as manifests
from opportune.learning.calibration import Floats, log_odds, sigmoid
from opportune.learning.judge import area_under_curve
from opportune.learning.model import LoadedModel
from opportune.learning.timing import HoursModel
from opportune.playbook.load import Playbook, load
from opportune.ports import ModelFiles, OfflineFeatures
from opportune.world import World, WorldConfig

END = datetime(2026, 3, 1, tzinfo=UTC)
TRUTH = {"purchase": ("p_purchase", "has_purchase"), "churn": ("p_churn", "has_churned")}


class Runs:
    """A run log in memory: versions and champions."""

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.champions: dict[str, str] = {}

    def log_training(self, name: str, run: Any, files: Any) -> str:
        version = str(1 + sum(n == name for n, _ in self.files))
        manifest = manifests.parse(files[manifests.MANIFEST]) | {"version": version}
        self.files[name, version] = {**files, manifests.MANIFEST: manifests.dump(manifest)}
        return version

    def champion(self, name: str) -> str | None:
        return self.champions.get(name)

    def promote(self, name: str, version: str) -> None:
        self.champions[name] = version

    def versions(self, name: str) -> list[Any]:
        return [{"version": v} for n, v in self.files if n == name]

    def fetch(self, name: str, version: str) -> dict[str, bytes]:
        return self.files[name, version]

    def log_decisions(self, experiment: str, batch_id: str, parquet: bytes, metrics: Any) -> None:
        raise NotImplementedError("training logs no decisions")

    def model(self, name: str, version: str) -> ModelFiles:
        """The files of a version, as the shelf would give them."""
        files = self.files[name, version]
        manifest = manifests.parse(files[manifests.MANIFEST])
        return ModelFiles(name=name, version=version, manifest=manifest, text=files[manifests.MODEL].decode())


@dataclass
class Shop:
    """A world whose history is in a ledger and archived under a folder."""

    world: World
    ledger: MemoryLedger
    offline: OfflineFeatures
    playbook: Playbook
    runs: Runs = field(default_factory=Runs)

    def train(self, name: str) -> TrainReport:
        """Train as of the world's end."""
        return train(
            name,
            self.world.end,
            ledger=self.ledger,
            offline=self.offline,
            runlog=self.runs,
            clock=FixedClock(self.world.end),
            playbook=self.playbook,
        )

    def runs_everybody(self) -> list[float]:
        """The shape of everybody in the newest send-time model."""
        version = max(int(v) for n, v in self.runs.files if n == "send_time")
        shape: list[float] = json.loads(self.runs.model("send_time", str(version)).text)["everybody"]
        return shape

    def features(self, customer_ids: list[str]) -> Any:
        """Every feature of these customers at the world's end."""
        import pandas as pd

        with self.ledger.read() as uow:
            claims = uow.identities.all_claims()
        rows = pd.DataFrame({"customer_id": customer_ids, "at": pd.to_datetime([self.world.end] * len(customer_ids))})
        return self.offline.as_of(rows, (), claims)


class WithoutFeast(DuckDbOffline):
    """The same features without the look-up through Feast, which costs seconds and changes no value."""

    training_set = DuckDbOffline.as_of


def open_shop(folder: Path, n_customers: int, seed: int, through_feast: bool = True) -> Shop:
    """A world in a ledger: events, identities, traits, consents, all archived."""
    world = World(WorldConfig(n_customers=n_customers), seed=seed, end=END)
    ledger = MemoryLedger()
    events: list[Event] = list(world.domain_events(ingested_at=END))
    claims = [claim for event in events for claim in identity.claims_of(event)]
    roots = identity.resolve(claims)
    whose = [identity.customer_id_of(roots.get(e.id_key, e.id_key)) for e in events]
    told: dict[str, list[Event]] = {}
    for event, customer_id in zip(events, whose, strict=True):
        if event.traits:
            told.setdefault(customer_id, []).append(event)
    with ledger.begin() as uow:
        uow.events.append(list(zip(events, whose, strict=True)))
        uow.identities.add_claims(claims)
        uow.customers.put([fold(Customer(customer_id=c), tuple(mine)) for c, mine in told.items()])
        uow.consents.add(list(world.consents()))
    archive_events(ledger, ParquetArchive(folder), FixedClock(END), "benchmark", page=200_000)
    offline = DuckDbOffline(folder) if through_feast else WithoutFeast(folder)
    return Shop(world, ledger, offline, load(None))


def slope(p: Floats, outcome: Floats) -> float:
    """Calibration slope: b of outcome ~ sigmoid(a + b x log-odds(p)), by Newton's method; 1 is perfect.

    `outcome`: 0/1, or probabilities.
    """
    x, a, b = log_odds(np.clip(p, 1e-6, 1 - 1e-6)), 0.0, 1.0
    for _ in range(50):
        q = sigmoid(a + b * x)
        w, r = q * (1 - q), outcome - q
        hessian = np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum()]])
        step = np.linalg.solve(hessian, np.array([r.sum(), (r * x).sum()]))
        a, b = a + float(step[0]), b + float(step[1])
        if np.abs(step).max() < 1e-10:
            break
    return b


def compare(shop: Shop, name: str, report: TrainReport) -> dict[str, float | str | int]:
    """The trained model beside the truth, over every customer seen before the world's end who may be profiled."""
    truth = shop.world.truth()
    truth = truth[truth["is_profiled"]]
    ids = truth["customer_id"].tolist()
    happened = shop.world.realised(ids)
    true_column, outcome_column = TRUTH[name]
    y, q = happened[outcome_column].to_numpy(dtype=np.float64), truth[true_column].to_numpy()
    model = LoadedModel(shop.runs.model(name, str(report.version)))
    p = model.predict(vector.frame_to_matrix(shop.features(ids), model.names))
    auc, best = area_under_curve(y, p), area_under_curve(y, q)
    assert auc is not None
    assert best is not None
    return {
        "model": name,
        "verdict": str(report.verdict),
        "n": len(y),
        "slope_realised": slope(p, y),
        "slope_truth": slope(p, q),
        "auc": auc,
        "auc_truth": best,
        "auc_gap": best - auc,
        "mean_p": float(p.mean()),
        "mean_truth": float(q.mean()),
        "baseline_auc": report.metrics.get("baseline_auc", float("nan")),
        "heldout_auc": report.metrics.get("auc", float("nan")),
    }


def hours(shop: Shop, report: TrainReport) -> dict[str, float | str | int]:
    """Send time beside the truth: how good the hour is, 1 for the customer's true best, over all with a known zone."""
    files = shop.runs.model("send_time", str(report.version))
    model = HoursModel(files)
    truth = shop.world.truth()
    truth = truth[truth["is_profiled"] & truth["is_zone_told"] & ~truth["customer_id"].str.startswith("anon:")]
    frame = shop.features(truth["customer_id"].tolist())
    offsets = np.array([_offset_h(zone, END) for zone in truth["zone"]])
    matrix = vector.frame_to_matrix(frame, model.names)
    answers = model.answers(matrix, offsets, np.ones(len(truth), dtype=np.bool_), None)
    types, people = list(shop.world.config.hour_types), shop.world._people
    weight = people.hour_weight[[types.index(t) for t in truth["hour_type"]]]
    found: dict[str, float | str | int] = {"model": "send_time", "verdict": str(report.verdict), "n": len(truth)}
    if model.kind == "hours":
        best = np.array([a.best_hour for a in answers])
        one = int(np.array(shop.runs_everybody()).argmax())
        away = np.abs((best - truth["best_hour_local"].to_numpy() + 12) % 24 - 12)
        found |= {
            "weight_model": float(weight[np.arange(len(best)), best].mean()),
            "weight_one_hour": float(weight[:, one].mean()),
            "within_1h": float((away <= 1).mean()),
            **{k: v for k, v in report.metrics.items() if k.endswith(("snips", "snips_se"))},
            "own_weight": float(files.manifest["own_weight"]),
        }
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=5000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--no-feast", action="store_true", help="skip the look-up through Feast")
    given = parser.parse_args()
    heads: list[str] = []
    for seed in given.seeds:
        with TemporaryDirectory() as folder:
            shop = open_shop(Path(folder), given.customers, seed, not given.no_feast)
            for name in TRUTH:
                start = time.perf_counter()
                report = shop.train(name)
                row = {"seed": seed, **compare(shop, name, report), "train_s": time.perf_counter() - start}
                if not heads:
                    heads = list(row)
                    print("  ".join(f"{h:>14}" for h in heads))
                print("  ".join(f"{v:14.4f}" if isinstance(v, float) else f"{v:>14}" for v in row.values()))
                for reason in report.reasons:
                    print(f"    {reason}")
            report = shop.train("send_time")
            print(
                "  ".join(
                    f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in hours(shop, report).items()
                )
            )
            for reason in report.reasons:
                print(f"    {reason}")


if __name__ == "__main__":
    main()
