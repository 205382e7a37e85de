"""The Feast repository that ships with Opportune, opened for one home folder."""

import fcntl
import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import opportune

os.environ.setdefault("FEAST_USAGE", "False")


def repo_folder() -> Path:
    """Where views.py lies: inside the installed package, else in the clone. Raises FileNotFoundError."""
    package = Path(opportune.__file__).resolve().parent
    for folder in (package / "_shipped" / "feature_repo", package.parents[1] / "feature_repo"):
        if (folder / "views.py").is_file():
            return folder
    raise FileNotFoundError("the Feast repository (feature_repo/views.py) is missing: install Opportune again")


def open_store(home: Path, redis_url: str | None, project: str) -> Any:
    """The stock Feast FeatureStore of a home with all views applied. Imports Feast: about 4 s the first time."""
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    folder = home.absolute() / "feast"
    (folder / "offline").mkdir(parents=True, exist_ok=True)
    online: dict[str, Any] = (
        {"type": "redis", "connection_string": connection_string(redis_url)}
        if redis_url
        else {"type": "sqlite", "path": str(folder / "online.db")}
    )
    config = RepoConfig(
        project=project,
        provider="local",
        registry={"path": str(folder / "registry.db")},
        online_store=online,
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
        repo_path=repo_folder(),
    )
    store = FeatureStore(config=config)
    # Every apply says so again; what we rely on is held by the contract suite.
    warnings.filterwarnings("ignore", "On demand feature view is an experimental", RuntimeWarning)
    with exclusive(folder / ".lock"):
        store.apply(list(_views().make(home).values()))
    return store


def connection_string(redis_url: str) -> str:
    """Feast's `host:port,name=value` form of a redis:// URL, with short timeouts.

    Raises ValueError for a password with a comma, which that form cannot carry.
    """
    from redis.connection import parse_url

    parts = dict(parse_url(redis_url))  # type: ignore[no-untyped-call]
    options = {"db": parts.get("db", 0), "socket_timeout": 5, "socket_connect_timeout": 1}
    for name in ("username", "password"):
        if value := parts.get(name):
            if "," in value:
                raise ValueError(f"Feast's Redis settings cannot carry a {name} with a comma: choose another")
            options[name] = value
    if redis_url.startswith("rediss:"):
        options["ssl"] = "true"
    return ",".join(
        [f"{parts.get('host', 'localhost')}:{parts.get('port', 6379)}", *(f"{k}={v}" for k, v in options.items())]
    )


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file among processes."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _views() -> ModuleType:
    spec = importlib.util.spec_from_file_location("opportune_feature_repo_views", repo_folder() / "views.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("feature_repo/views.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
