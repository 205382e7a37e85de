"""The Feast repository: every view is made from `opportune.features.catalog`, so that nothing is defined twice.

- `customer_state`: what is served online. Packed state, its version and its commit instant, per customer.
- `customer_features`: what training looks up. Finished values per (customer, instant), as Parquet.
- `customer_features_now`: finished values for the stock SDK, `finalise` over the packed state at `at_us`
  (microseconds since 1970 UTC). Null is NaN, of texts the empty text.
- `<model>_v<version>`: a feature service per model version served from this home, the features that model reads from
  `customer_features_now`; `<model>_v<version>_training` the same from `customer_features`.
"""

import inspect
import os
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import Array, Bool, Bytes, Float64, Int64, String
from feast.value_type import ValueType

from opportune.adapters.feast_services import noted_services
from opportune.features.catalog import BY_NAME, FEATURES, definition_hash
from opportune.features.declare import over

DTYPES: dict[str, Any] = {"int": Int64, "float": Float64, "bool": Bool, "vector": Array(Float64), "text": String}
SCHEMA = [
    Field(
        name=f.name,
        dtype=DTYPES[f.dtype],
        description=f.description,
        tags={
            "unit": f.unit,
            "owner": f.owner,
            "null": f.null_meaning,
            "window": over(f.window) if f.window else "all time" if f.tap else "of " + ", ".join(f.inputs),
        },
    )
    for f in FEATURES
]
# Feast infers the fields of an on-demand view and compares them, descriptions included.
PLAIN = [Field(name=f.name, dtype=DTYPES[f.dtype]) for f in FEATURES]
OWNER = ", ".join(sorted({f.owner for f in FEATURES}))
TAGS = {"definition": definition_hash(), "made_from": "opportune.features.catalog"}


# Feast cuts timestamps to whole seconds: the instant is an integer of microseconds. It keeps this function
# as text and runs it without this module: the function imports what it needs itself.
def customer_features_now(inputs: dict) -> dict:
    """Finished values at the instants `at_us`. No state: the values of no history, `is_known` false."""
    from opportune.features.state import finish_packed

    finished = [finish_packed(state, at_us) for state, at_us in zip(inputs["state"], inputs["at_us"], strict=True)]
    return {name: [values[name] for values in finished] for name in finished[0]}


def make(home: Path) -> dict[str, Any]:
    """Entity, sources and views for one home folder, by name."""
    offline = home.absolute() / "feast" / "offline"
    customer = Entity(
        name="customer",
        join_keys=["customer_id"],
        value_type=ValueType.STRING,
        description="A person or device: the canonical customer id after identity merges, `anon:...` when anonymous.",
        owner=OWNER,
    )
    state_source = FileSource(
        name="customer_state_source",
        path=str(offline / "customer_state.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    features_source = FileSource(
        name="customer_features_source",
        path=str(offline / "customer_features.parquet"),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    state = FeatureView(
        name="customer_state",
        entities=[customer],
        source=state_source,
        schema=[
            Field(name="state", dtype=Bytes, description="Packed by opportune.features.state"),
            Field(name="version", dtype=Int64, description="Version of the state in the ledger"),
            Field(name="committed_us", dtype=Int64, description="Commit instant, microseconds since 1970 UTC"),
        ],
        online=True,
        description="Packed feature state per customer, projected from the ledger. Read finished values from"
        " customer_features_now instead.",
        owner=OWNER,
        tags=TAGS,
    )
    features = FeatureView(
        name="customer_features",
        entities=[customer],
        source=features_source,
        schema=SCHEMA,
        online=False,
        description="Finished features as of (customer, instant), computed over archive and ledger: for training.",
        owner=OWNER,
        tags=TAGS,
    )
    now = OnDemandFeatureView(
        name="customer_features_now",
        sources=[state, RequestSource(name="decision_instant", schema=[Field(name="at_us", dtype=Int64)])],
        schema=[*PLAIN, Field(name="is_known", dtype=Bool)],
        mode="python",
        udf=customer_features_now,
        udf_string=inspect.getsource(customer_features_now),
        description="Finished features at the instant `at_us`, from the packed state. What each means: the field of the"
        " same name in customer_features.",
        owner=OWNER,
        tags=TAGS,
    )
    services = {}
    for name, note in noted_services(home).items():
        if all(feature in BY_NAME for feature in note["features"]):  # else: of a catalogue that is no more
            for service, view in ((name, now), (f"{name}_training", features)):
                services[service] = FeatureService(
                    name=service,
                    features=[view[note["features"]]],
                    description=f"What {note['model']} reads: {note['target']}.",
                    owner=OWNER,
                    tags={"model": note["model"], "definition": note["definition"], "as_of": note["as_of"]},
                )
    return {
        "customer": customer,
        "state_source": state_source,
        "features_source": features_source,
        "customer_state": state,
        "customer_features": features,
        "now": now,
        **services,
    }


# `feast apply` collects what it finds by name in this module.
_made = make(Path(os.environ.get("OPPORTUNE_HOME") or Path(__file__).resolve().parent.parent / ".opportune"))
globals().update(_made)
