"""The naive service: per request one `get_online_features` on Redis and three `mlflow.pyfunc` predictions.

No caps, no durability, no reasons. Fair: models loaded once, threads limited to one, `gc.freeze()` after warm-up.
"""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

import mlflow
import numpy as np
import pandas as pd
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel

STORE = FeatureStore(os.environ["NAIVE_REPO"])
MODELS = {
    n: mlflow.pyfunc.load_model(os.path.join(os.environ["NAIVE_REPO"], n)) for n in ("churn", "purchase", "send_time")
}
REFS = [f"view{v}:f{v}_{i}" for v in range(4) for i in range(10)]
NAMES = [r.split(":")[1] for r in REFS]
app = FastAPI()


class Question(BaseModel):
    """Who."""

    customer_id: str


@app.post("/decide")
def decide(question: Question) -> dict[str, float | str]:
    """Read 40 features, predict three times, pick."""
    row = STORE.get_online_features(features=REFS, entity_rows=[{"customer_id": question.customer_id}]).to_dict()
    frame = pd.DataFrame({n: row[n] for n in NAMES}, dtype=np.float64)
    scores = {n: float(m.predict(frame)[0]) for n, m in MODELS.items()}
    return {"customer_id": question.customer_id, **scores, "message": "offer" if scores["purchase"] > 0.5 else "none"}


decide(Question(customer_id="c1"))
gc.collect()
gc.freeze()
