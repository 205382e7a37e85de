"""Makes the naive service's repository: four Feast views of ten features on Redis, three MLflow models."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path


def prepare(folder: Path, redis: str, n_customers: int) -> None:
    """`redis` is host:port,db=N. Models: 300 trees, 31 leaves, 40 features."""
    import lightgbm
    import mlflow
    import numpy as np
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.types import Float64
    from feast.value_type import ValueType

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        f"project: naive_bench\nregistry: {folder}/registry.db\nprovider: local\n"
        f"online_store:\n  type: redis\n  connection_string: {redis}\n"
        "offline_store:\n  type: file\nentity_key_serialization_version: 3\n"
    )
    rng = np.random.default_rng(1)
    ids = [f"c{i}" for i in range(n_customers)]
    at = datetime.now(UTC) - timedelta(hours=1)
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    store = FeatureStore(str(folder))
    for v in range(4):
        names = [f"f{v}_{i}" for i in range(10)]
        frame = pd.DataFrame(rng.normal(size=(n_customers, 10)), columns=names)
        frame["customer_id"], frame["event_timestamp"] = ids, at
        path = folder / f"view{v}.parquet"
        frame.to_parquet(path)
        view = FeatureView(
            name=f"view{v}",
            entities=[customer],
            ttl=timedelta(days=1),
            schema=[Field(name=n, dtype=Float64) for n in names],
            source=FileSource(path=str(path), timestamp_field="event_timestamp"),
        )
        store.apply([customer, view])
        store.write_to_online_store(f"view{v}", frame)
    names = [f"f{v}_{i}" for v in range(4) for i in range(10)]
    x = pd.DataFrame(rng.normal(size=(20_000, 40)), columns=names)
    for k, name in enumerate(("churn", "purchase", "send_time")):
        y = (x.iloc[:, k] + x.iloc[:, k + 3] * x.iloc[:, k + 7] + rng.normal(size=len(x)) > 0).astype(int)
        model = lightgbm.LGBMClassifier(n_estimators=300, num_leaves=31, n_jobs=1, verbose=-1).fit(x, y)
        if not (folder / name).exists():
            mlflow.lightgbm.save_model(model.booster_, str(folder / name))


if __name__ == "__main__":
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    prepare(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
