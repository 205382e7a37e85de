"""opportune doctor."""

import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import click

from opportune.cli.printing import json_option, result

if TYPE_CHECKING:
    from opportune.settings import Settings
    from opportune.wiring import Installation

State = Literal["ok", "warn", "fail"]
#: A worker that has not been heard of for this long is not running.
SILENT = timedelta(minutes=2)
#: A timer or message this much overdue is not being worked off.
OVERDUE = timedelta(minutes=5)
_MANY = 10_000
_PINNED = {"feast": "0.67.0", "mlflow": "3.17.2", "lightgbm": "4.7.0"}
_BELOW = {"pandas": 3, "duckdb": 2}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found, and what to do when it is not well."""

    name: str
    state: State
    found: str
    do: str = ""

    def __str__(self) -> str:
        return f"{self.state:<5} {self.name:<14} {self.found}" + (f"\n      -> {self.do}" if self.do else "")


@click.command("doctor", epilog="Example:  opportune doctor --json")
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Find what is wrong with this installation, and say what to do. Exit code 1 when something fails."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    checks = list(examine())
    n = {state: sum(c.state == state for c in checks) for state in ("ok", "warn", "fail")}
    words = "\n".join([*map(str, checks), "", f"{n['ok']} ok, {n['warn']} to look at, {n['fail']} failed"])
    result({"healthy": not n["fail"], "checks": [asdict(c) for c in checks]}, words, as_json)
    ctx.exit(1 if n["fail"] else 0)


def examine() -> Iterator[Check]:
    """Every check in order; what depends on a part that failed is left out."""
    yield python()
    yield libraries()
    try:
        from opportune.settings import Settings
        from opportune.wiring import Installation

        settings = Settings()
    except ValueError as problem:
        yield Check("settings", "fail", _short(problem), "correct the OPPORTUNE_* variable it names")
        return
    except ImportError as problem:
        yield Check("settings", "fail", _short(problem), "install from the lock file again: make setup")
        return
    i = Installation(settings)
    at_home = home(settings)
    yield at_home
    yield keys(settings)
    yield guarded("playbook", "opportune check lists every problem", lambda: playbook(settings))
    yield guarded("links", "correct OPPORTUNE_PUBLIC_URL", lambda: links(settings))
    if at_home.state == "fail":
        return
    reached = guarded("database", "start it, or correct OPPORTUNE_DATABASE_URL", lambda: database(settings))
    yield reached
    if reached.state != "fail":
        yield guarded("clock", "see OPPORTUNE_CLOCK", lambda: clock(i))
        yield guarded("worker", "start `opportune work`", lambda: worker(i))
    if settings.redis_url:
        yield guarded("redis", "start it, or correct OPPORTUNE_REDIS_URL", lambda: redis(settings))
    yield guarded(
        "feast", "delete the folder feast/ in the home, then run `opportune features rebuild`", lambda: feast(i)
    )
    if reached.state != "fail":
        yield guarded("features", "run `opportune features rebuild`", lambda: features(i))
    tracked = guarded("mlflow", "start it, or correct OPPORTUNE_MLFLOW_URI", lambda: mlflow(i))
    yield tracked
    if tracked.state != "fail":
        yield from models(i)
    i.close()


def guarded(name: str, do: str, look: Callable[[], Check]) -> Check:
    """The check, or a failed one that says what it ran into."""
    try:
        return look()
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is the finding
        return Check(name, "fail", _short(problem), do)


def python() -> Check:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] == (3, 11):
        return Check("python", "ok", version)
    return Check(
        "python", "fail", f"{version} is not 3.11", "install Python 3.11 and run: make setup PYTHON=python3.11"
    )


def libraries() -> Check:
    """Those whose versions matter, and that LightGBM finds its OpenMP runtime."""
    wrong = []
    for name, wanted in _PINNED.items():
        if (there := _version(name)) != wanted:
            wrong.append(f"{name} {there or 'missing'} (needs {wanted})")
    for name, below in _BELOW.items():
        there = _version(name)
        if there is None or int(there.split(".")[0]) >= below:
            wrong.append(f"{name} {there or 'missing'} (needs < {below})")
    if wrong:
        return Check("libraries", "fail", ", ".join(wrong), "install from the lock file: make setup")
    try:
        import lightgbm  # noqa: F401
    except OSError as problem:
        do = "install the OpenMP runtime (Debian: apt-get install libgomp1)"
        return Check("libraries", "fail", f"LightGBM cannot load: {_short(problem)}", do)
    return Check("libraries", "ok", ", ".join(f"{name} {_version(name)}" for name in (*_PINNED, *_BELOW)))


def home(settings: "Settings") -> Check:
    """The folder of embedded state can be written."""
    folder = settings.home.absolute()
    probe = folder / f".doctor-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as problem:
        return Check("home", "fail", f"{folder}: {problem.strerror}", "make it writable, or set OPPORTUNE_HOME")
    return Check("home", "ok", str(folder))


def keys(settings: "Settings") -> Check:
    """Who may ask."""
    given = [n for n in ("api_key", "write_key", "decide_key") if getattr(settings, n)]
    if not given:
        return Check(
            "keys", "warn", "none: the server binds to loopback only", "set OPPORTUNE_API_KEY before you serve others"
        )
    if not settings.api_key:
        named = ", ".join(f"OPPORTUNE_{n.upper()}" for n in given)
        return Check("keys", "warn", f"only {named}: nobody may administer", "set OPPORTUNE_API_KEY")
    return Check("keys", "ok", ", ".join(n.replace("_", " ") for n in given))


def playbook(settings: "Settings") -> Check:
    """It loads."""
    from opportune.playbook.check import check

    report = check(settings.playbook)
    where = str(settings.playbook or "the packaged default")
    if not report.is_valid:
        n = len(report.problems)
        return Check("playbook", "fail", f"{where}: {n} problem(s), the first: {report.problems[0]}", "opportune check")
    if report.warnings:
        return Check("playbook", "warn", f"{where}: {report.summary}", "opportune check shows the warnings")
    return Check("playbook", "ok", f"{where}: {report.summary}")


def links(settings: "Settings") -> Check:
    """Customers reach the pages to unsubscribe."""
    from opportune.playbook.check import check, sends_marketing_email

    url, playbook = settings.public_url, check(settings.playbook).playbook
    if url is not None and url.startswith("http://"):
        return Check("links", "warn", f"{url} is not https", "mail clients unsubscribe over https only (RFC 8058)")
    if url is not None:
        return Check("links", "ok", f"{url}/unsubscribe/..., {url}/preferences/...")
    if playbook is not None and sends_marketing_email(playbook):
        found = "no public URL: e-mails carry no List-Unsubscribe header, and no links to unsubscribe"
        return Check("links", "warn", found, "set OPPORTUNE_PUBLIC_URL to where customers reach this server")
    return Check("links", "ok", "no public URL, and no marketing e-mail known that would need one")


def database(settings: "Settings") -> Check:
    """It answers, and holds the tables of this version. An older or empty one is not touched."""
    from sqlalchemy import create_engine

    from opportune.adapters.migrations import current
    from opportune.adapters.sql_tables import REVISION

    what = "SQLite in the home" if settings.is_sqlite and not settings.database_url else "the database"
    if settings.is_sqlite and not settings.database_url and not (settings.home / "ledger.db").exists():
        return Check("database", "ok", f"{what}, not made yet: the first command makes it")
    engine = create_engine(settings.ledger_url)
    try:
        with engine.connect() as connection:
            revision = current(connection)
            name = f"{engine.dialect.name}, {what}"
    finally:
        engine.dispose()
    if revision is None:
        return Check("database", "warn", f"{name} is empty", "any command that writes makes the tables")
    if revision < REVISION:
        return Check("database", "warn", f"{name} is at revision {revision}", f"the next start brings it to {REVISION}")
    if revision > REVISION:
        return Check("database", "fail", f"{name} is at {revision}, not {REVISION}", "install the newer Opportune")
    return Check("database", "ok", f"{name}, revision {revision}")


def clock(i: "Installation") -> Check:
    """Which now is in force."""
    now = i.clock.now()
    if i.settings.clock == "wall":
        return Check("clock", "ok", f"wall, {now:%Y-%m-%d %H:%M} UTC")
    return Check(
        "clock", "warn", f"replay, standing at {now:%Y-%m-%d %H:%M} UTC", "it moves only when told; for real time: wall"
    )


def worker(i: "Installation") -> Check:
    """Somebody is at work, and nothing lies about."""
    from opportune.flows.beat import last_beat

    heard, now = last_beat(i.ledger), i.clock.now()
    with i.ledger.read() as uow:
        waiting = {topic: uow.outbox.depth(topic) for topic in ("project", "deliver")}
        due, n_timers = uow.timers.next_due(), uow.timers.pending()
        late = uow.sends.due(now - OVERDUE, 1, "service")
    lag = f"{waiting['project']:,} projections, {waiting['deliver']:,} deliveries, {n_timers:,} timers waiting"
    start = "start it: `opportune serve` does, or `opportune work`"
    if heard is None:
        return Check("worker", "warn", f"no worker ever ran here; {lag}", start)
    silent = datetime.now(UTC) - heard[0]
    if silent > SILENT:
        return Check("worker", "fail", f"the last worker was heard of {_ago(silent)} ago; {lag}", start)
    if due is not None and due < now - OVERDUE:
        return Check("worker", "fail", f"a timer is {_ago(now - due)} overdue; {lag}", "see the worker's log; run more")
    if late:
        lateness = _ago(now - late[0].send_at)
        return Check(
            "worker", "fail", f"a message is {lateness} overdue; {lag}", "see the worker's log: can it deliver?"
        )
    if waiting["project"] > _MANY:
        return Check("worker", "warn", f"projections lag; {lag}", "decisions read the ledger meanwhile; see its log")
    return Check("worker", "ok", f"heard of {_ago(silent)} ago; {lag}")


def redis(settings: "Settings") -> Check:
    """It answers."""
    import redis as client

    assert settings.redis_url is not None
    connection = client.Redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=2)
    try:
        connection.ping()
        info = connection.info("server")
    finally:
        connection.close()
    version = info["redis_version"] if isinstance(info, dict) else "?"
    return Check("redis", "ok", f"Redis {version}")


def feast(i: "Installation") -> Check:
    """The registry opens, and what is written through Feast is read back the same, directly and by Feast."""
    with i.ledger.read() as uow:
        some = uow.customers.all_ids("", 20)
    n = i.feast.verify(some)
    return Check("feast", "ok", f"{i.feast.place.online} online store, {n} rows read the same")


def features(i: "Installation") -> Check:
    """What waits for the online store, and the last consistency check."""
    from opportune.features.consistency import ALARM_SHARE
    from opportune.flows.freshness import freshness

    found = freshness(i.ledger, i.clock)
    lag_s = found.lag_s["customer_state"]
    if found.worst_share is not None and found.worst_share > ALARM_SHARE:
        what = f"served features differ from offline ones in {found.worst_share:.2%} of the rows"
        return Check("features", "fail", what, "run `opportune features rebuild`, then `opportune features check`")
    if lag_s > OVERDUE.total_seconds():
        what = f"{found.n_waiting:,} customers wait for the online store, the oldest for {lag_s:,.0f} s"
        return Check("features", "warn", what, "start `opportune work`, and see that the online store answers")
    return Check("features", "ok", f"{found.coverage:.0%} of {found.n_customers:,} customers are up to date online")


def mlflow(i: "Installation") -> Check:
    """Tracking and registry answer."""
    from opportune.wiring import MODEL_NAMES

    n = sum(len(i.runlog.versions(name)) for name in MODEL_NAMES)
    return Check("mlflow", "ok", f"{i.settings.mlflow_uri or 'in the home'}, {n} model version(s)")


def models(i: "Installation") -> Iterator[Check]:
    """The champion of the registry is the one on the shelf, and it loads."""
    from opportune.wiring import MODEL_NAMES

    for name in MODEL_NAMES:
        yield guarded(f"model {name}", "train it again, or roll back", lambda name=name: model(i, name))  # type: ignore[misc]


def model(i: "Installation", name: str) -> Check:
    """One model: registry against shelf."""
    registered, there = i.runlog.champion(name), i.shelf.champion(name)
    label = f"model {name}"
    if registered is None:
        return Check(label, "warn", "no champion: decisions are rules_only", f"opportune train {name}")
    if there != registered:
        found = f"the registry's champion is {registered}, on disk is {there or 'none'}"
        return Check(label, "warn", found, "a running worker fetches it within seconds; or: opportune work --once")
    i.shelf.load(name)
    return Check(label, "ok", f"{name}/{there}, verified")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ago(span: timedelta) -> str:
    s = int(span.total_seconds())
    return f"{s} s" if s < 120 else f"{s // 60} min" if s < 7200 else f"{s // 3600} h"


def _short(problem: BaseException) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text if len(text) <= 300 else text[:297] + "..."
