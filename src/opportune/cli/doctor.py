"""opportune doctor."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from opportune.cli.doctor_setup import Check, guarded, home, keys, libraries, links, playbook, python, short
from opportune.cli.printing import json_option, result

if TYPE_CHECKING:
    from opportune.settings import Settings
    from opportune.wiring import Installation

#: A worker that has not been heard of for this long is not running.
SILENT = timedelta(minutes=2)
#: A timer or message this much overdue is not being worked off.
OVERDUE = timedelta(minutes=5)
_MANY = 10_000


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
        yield Check("settings", "fail", short(problem), "correct the OPPORTUNE_* variable it names")
        return
    except ImportError as problem:
        yield Check("settings", "fail", short(problem), "install from the lock file again: make setup")
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
        yield guarded("sources", "see docs/playbook.md, Sources", lambda: sources(i))
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
        due, free_at, n_timers = uow.timers.next_due(), uow.timers.next_at(now), uow.timers.pending()
        late = uow.sends.due(now - OVERDUE, 1, "service")
    lag = f"{waiting['project']:,} projections, {waiting['deliver']:,} deliveries, {n_timers:,} timers waiting"
    start = "start it: `opportune serve` does, or `opportune work`"
    if heard is None:
        return Check("worker", "warn", f"no worker ever ran here; {lag}", start)
    silent = datetime.now(UTC) - heard[0]
    if silent > SILENT:
        return Check("worker", "fail", f"the last worker was heard of {_ago(silent)} ago; {lag}", start)
    # What is put off (absence that waits for its sources) is not overdue: nobody can claim it now.
    if due is not None and due < now - OVERDUE and free_at is not None and free_at <= now:
        return Check("worker", "fail", f"a timer is {_ago(now - due)} overdue; {lag}", "see the worker's log; run more")
    if late:
        lateness = _ago(now - late[0].send_at)
        return Check(
            "worker", "fail", f"a message is {lateness} overdue; {lag}", "see the worker's log: can it deliver?"
        )
    if waiting["project"] > _MANY:
        return Check("worker", "warn", f"projections lag; {lag}", "decisions read the ledger meanwhile; see its log")
    return Check("worker", "ok", f"heard of {_ago(silent)} ago; {lag}")


def sources(i: "Installation") -> Check:
    """Events can come in, as far as their signs of life tell; absence triggers wait for those that cannot."""
    from opportune.flows.health import health

    if not i.desk.is_watching:
        return Check("sources", "ok", "on the replay clock history counts as complete")
    now = i.clock.now()
    with i.ledger.read() as uow:
        found = health(i.playbook, now, uow)
    sick = sorted(name for name, one in found.items() if not one.is_well)
    settling = sorted(name for name, one in found.items() if one.settled_at is not None)
    if sick:
        what = f"no signs of life: {', '.join(sick)}; absence triggers wait for them"
        return Check("sources", "warn", what, "ingestion: start `opportune serve`; others: see why they send nothing")
    if settling:
        return Check("sources", "ok", f"back after a fault, their backlog is awaited: {', '.join(settling)}")
    return Check("sources", "ok", ", ".join(sorted(found)))


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


def _ago(span: timedelta) -> str:
    s = int(span.total_seconds())
    return f"{s} s" if s < 120 else f"{s // 60} min" if s < 7200 else f"{s // 3600} h"
