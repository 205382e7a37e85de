"""The Feast repository of one installation: where registry and stores are, opened with all views applied."""

import fcntl
import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import opportune

os.environ.setdefault("FEAST_USAGE", "False")

PROJECT = "opportune"
#: The PostgreSQL schema of Feast's own tables, registry and online store alike: none of the ledger's are in it.
SCHEMA = "opportune_feast"
Online = Literal["sqlite", "redis", "postgres"]
_OBJECTS = """# Written by Opportune. `feast apply` and `feast ui` work in this folder, over the service's own registry.
from pathlib import Path

from opportune.adapters.feast_repo import objects_of

globals().update(objects_of(Path(__file__).resolve().parents[2]))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one installation keeps its features. `database_url` null: the registry is a file in the home."""

    home: Path
    project: str = PROJECT
    online: Online = "sqlite"
    redis_url: str | None = None
    database_url: str | None = None

    @property
    def folder(self) -> Path:
        """The home's Feast folder."""
        return self.home.absolute() / "feast"

    @property
    def repo(self) -> Path:
        """A stock Feast repository over this place: `FeatureStore(repo_path=place.repo)`. Made by `open_store`."""
        return self.folder / "repo"


def place_of(
    home: Path,
    redis_url: str | None = None,
    database_url: str | None = None,
    online: str = "auto",
    project: str = PROJECT,
) -> Place:
    """Choose the stores: `auto` is Redis where there is a URL, else SQLite. A PostgreSQL database holds the registry.

    Raises ValueError when the store asked for has no address.
    """
    database = database_url if database_url and database_url.startswith("postgresql") else None
    chosen: Online = "redis" if redis_url else "sqlite"
    match online:
        case "auto":
            pass
        case "sqlite":
            chosen = "sqlite"
        case "redis":
            if not redis_url:
                raise ValueError("OPPORTUNE_ONLINE_STORE is redis, so OPPORTUNE_REDIS_URL must be set")
            chosen = "redis"
        case "postgres":
            if not database:
                raise ValueError("OPPORTUNE_ONLINE_STORE is postgres, so OPPORTUNE_DATABASE_URL must name a PostgreSQL")
            chosen = "postgres"
        case _:
            raise ValueError(f"OPPORTUNE_ONLINE_STORE is {online!r}: choose auto, sqlite, redis or postgres")
    return Place(home=home, project=project, online=chosen, redis_url=redis_url, database_url=database)


def repo_folder() -> Path:
    """Where views.py lies: inside the installed package, else in the clone. Raises FileNotFoundError."""
    package = Path(opportune.__file__).resolve().parent
    for folder in (package / "_shipped" / "feature_repo", package.parents[1] / "feature_repo"):
        if (folder / "views.py").is_file():
            return folder
    raise FileNotFoundError("the Feast repository (feature_repo/views.py) is missing: install Opportune again")


def config_of(place: Place) -> dict[str, Any]:
    """What a stock feature_store.yaml says of this place. Holds passwords where the URLs do."""
    online: dict[str, Any]
    if place.online == "redis":
        online = {"type": "redis", "connection_string": connection_string(place.redis_url or "")}
    elif place.online == "postgres":
        online = postgres_options(place.database_url or "")
    else:
        online = {"type": "sqlite", "path": str(place.folder / "online.db")}
    registry: dict[str, Any] = {"path": str(place.folder / "registry.db")}
    if place.database_url:
        registry = {
            "registry_type": "sql",
            "path": _in_schema(place.database_url),
            "cache_mode": "thread",
            "cache_ttl_seconds": 10,
            "sqlalchemy_config_kwargs": {"echo": False, "pool_pre_ping": True, "pool_size": 2},
        }
    return {
        "project": place.project,
        "provider": "local",
        "registry": registry,
        "online_store": online,
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3,
    }


def open_store(place: Place) -> Any:
    """The stock Feast FeatureStore of a place with all views applied. Imports Feast: about 4 s the first time."""
    from feast import FeatureStore
    from feast.repo_config import RepoConfig

    (place.folder / "offline").mkdir(parents=True, exist_ok=True)
    # Every apply says so again; what we rely on is held by the contract suite.
    warnings.filterwarnings("ignore", "On demand feature view is an experimental", RuntimeWarning)
    config = config_of(place)
    with exclusive(place.folder / ".lock"), _alone_in(place.database_url):
        _write_repo(place, config)
        store = FeatureStore(config=RepoConfig(**config, repo_path=repo_folder()))
        store.apply(list(objects_of(place.home).values()))
        store.refresh_registry()  # the SQL registry's cache was read before the apply
    return store


def objects_of(home: Path) -> dict[str, Any]:
    """Every Feast object of a home: entity, sources, views, and a service per model version. Imports Feast."""
    made: dict[str, Any] = _views().make(home)
    return made


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


def postgres_options(database_url: str) -> dict[str, Any]:
    """Feast's PostgreSQL online store on the database of a SQLAlchemy URL, in a schema of its own."""
    from sqlalchemy.engine import make_url

    url = make_url(database_url)
    return {
        "type": "postgres",
        "host": url.host or str(url.query.get("host", "localhost")),
        "port": url.port or 5432,
        "database": url.database or "postgres",
        "db_schema": SCHEMA,
        "user": url.username or "postgres",
        "password": url.password or "",
        "sslmode": str(url.query.get("sslmode", "prefer")),
    }


def libpq_url(database_url: str) -> str:
    """The URL as psycopg reads it: without SQLAlchemy's driver."""
    from sqlalchemy.engine import make_url

    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


def _in_schema(database_url: str) -> str:
    """The SQLAlchemy URL with Feast's schema in front of the search path."""
    from sqlalchemy.engine import make_url

    url = make_url(database_url).set(drivername="postgresql+psycopg")
    return url.update_query_dict({"options": f"-csearch_path={SCHEMA}"}).render_as_string(hide_password=False)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock file among processes."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _alone_in(database_url: str | None) -> Iterator[None]:
    """Hold a lock among machines that share a database, and see that Feast's schema is there."""
    if database_url is None:
        yield
        return
    import psycopg

    with psycopg.connect(libpq_url(database_url), autocommit=True, connect_timeout=5) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('opportune feast apply'))")
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{SCHEMA}"'.encode())
        yield


def _write_repo(place: Place, config: dict[str, Any]) -> None:
    """`feature_store.yaml` and the objects as files, readable by the owner only, changed only when they differ."""
    import yaml

    place.repo.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in (("feature_store.yaml", yaml.safe_dump(config, sort_keys=False)), ("objects.py", _OBJECTS)):
        path = place.repo / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        draft = path.with_name(f".{name}.draft")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)


def _views() -> ModuleType:
    spec = importlib.util.spec_from_file_location("opportune_feature_repo_views", repo_folder() / "views.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError("feature_repo/views.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
