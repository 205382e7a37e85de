"""Opportune in a notebook, without a server: open a home, look at what was decided and what came of it, try things.

import opportune
home = opportune.open(".demo")
home.decisions().groupby("campaign").size()
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opportune.domain.instants import parse_instant
from opportune.settings import Settings
from opportune.wiring import MODEL_NAMES, Installation

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from opportune.domain.decisions import StoredDecision
    from opportune.flows.train import TrainReport
    from opportune.ports import UnitOfWork

#: An instant as people write it: aware datetime, or ISO 8601 text (no offset: UTC).
When = datetime | str
Frame = Literal["decisions", "messages", "outcomes", "exposures"]
_PAGE = 1000


def open(home: str | Path | None = None, *, playbook: str | Path | None = None) -> "Home":
    """The Opportune of a home folder. Nulls: what `OPPORTUNE_*` says, as for the commands.

    The folder and its ledger are made when they are missing.
    """
    given = {"home": home, "playbook": playbook}
    settings = Settings().model_copy(update={k: Path(v) for k, v in given.items() if v is not None})
    return Home(Installation(settings))


class Home:
    """One home, open. Frames are pandas (`to_arrow` for Arrow), in the order of the log; instants are aware UTC.

    `since` and `until` bound when a decision was made: [since, until), null for no bound. Close it, or use `with`.
    """

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def __enter__(self) -> "Home":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._installation.close()

    # -- what happened ---------------------------------------------------------------------------------------------

    def decisions(self, since: When | None = None, until: When | None = None) -> "pd.DataFrame":
        """One row per decision: who, when, mode, scores, what was chosen with which probability, what was removed.

        `messages`, `removed`, `scores`, `draws`, `exposures` are JSON text. `unit` is the pseudonym MLflow sees.
        """
        return _pandas(self.to_arrow("decisions", since, until))

    def messages(self, since: When | None = None, until: When | None = None) -> "pd.DataFrame":
        """One row per chosen message: campaign, channel, variant, state, booked and real instants, value."""
        return _pandas(self.to_arrow("messages", since, until))

    def outcomes(self, since: When | None = None, until: When | None = None) -> "pd.DataFrame":
        """One row per outcome (delivered, opened, clicked...) of the messages chosen in the period."""
        return _pandas(self.to_arrow("outcomes", since, until))

    def exposures(self, experiment: str | None = None) -> "pd.DataFrame":
        """One row per (experiment, unit): the first decision that read what the experiment overrides. Null: all."""
        return _pandas(self._arrow("exposures", self._exposures(experiment)))

    def to_arrow(self, name: Frame, since: When | None = None, until: When | None = None) -> "pa.Table":
        """One of the frames above as an Arrow table. Raises ValueError for another name."""
        start, end = _instant(since), _instant(until)
        rows = {
            "decisions": lambda: self._decisions(start, end),
            "messages": lambda: self._messages(start, end),
            "outcomes": lambda: self._outcomes(start, end),
            "exposures": lambda: self._exposures(None),
        }
        if name not in rows:
            raise ValueError(f"there is no frame {name!r}: it is one of {', '.join(rows)}")
        return self._arrow(name, rows[name]())

    def report(self, since: When, until: When | None = None) -> dict[str, Any]:
        """Campaign report and reach funnel of a period, with definitions; `until` null: now."""
        from opportune.flows.report import campaign_report

        i = self._installation
        start, end = _instant(since), _instant(until) or i.clock.now()
        assert start is not None
        return campaign_report(start, end, i.ledger, i.playbook, i.clock)

    def explain(self, decision_id: str) -> str:
        """A past decision in words: what was sent, and for each that was not, at which gate and when it could.

        Raises KeyError when there is none.
        """
        from opportune.flows.lookup import stored
        from opportune.flows.tell import in_words

        found = stored(decision_id, self._installation.ledger)
        if found is None:
            raise KeyError(decision_id)
        return in_words(found)

    # -- to try things ---------------------------------------------------------------------------------------------

    def ingest(
        self, file: str | Path, format: Literal["segment", "retail"] = "segment", map: str | Path | None = None
    ) -> dict[str, int]:
        """Import a file of events; counts of what was read, stored, known already and refused.

        `map`: a column mapping for any CSV, JSON lines or Parquet file (docs/first-hour.md). Raises ValueError.
        """
        from opportune.flows.take_in import take_in

        i, path = self._installation, Path(file)
        return take_in(i.read_events(path, format, Path(map) if map else None), i.ledger, i.playbook, i.clock)

    def features(self, customer_ids: Sequence[str], at: When | None = None) -> "pd.DataFrame":
        """Point-in-time features: a row per customer, a column per feature, from what was known at `at` (null: now).

        Computed offline, from the archive; events that are newer are archived first.
        """
        import pandas as pd

        i = self._installation
        self._archive()
        when = _instant(at) or i.clock.now()
        with i.ledger.read() as uow:
            claims = uow.identities.all_claims()
        rows = pd.DataFrame({"customer_id": list(customer_ids), "at": [when] * len(customer_ids)})
        frame: pd.DataFrame = i.offline.as_of(rows, (), claims)
        return frame

    def train(self, model: str = "purchase", as_of: When | None = None) -> "TrainReport":
        """Train a model as of an instant (null: now), judge it, and register it; `.to_text()` tells how it went."""
        from opportune.flows.fetch import fetch_champions
        from opportune.flows.train import train

        if model not in MODEL_NAMES:
            raise ValueError(f"there is no model {model!r}: it is one of {', '.join(MODEL_NAMES)}")
        i = self._installation
        self._archive()
        report = train(
            model,
            _instant(as_of),
            ledger=i.ledger,
            offline=i.offline,
            runlog=i.runlog,
            clock=i.clock,
            playbook=i.playbook,
        )
        fetch_champions((model,), i.runlog, i.shelf)
        i.scorer.refresh()
        return report

    def decide(self, customer_id: str, dry_run: bool = True, **ask: Any) -> dict[str, Any]:
        """Decide for one customer, in the shape of `POST /v1/decisions`; unless `dry_run` is false nothing is reserved.

        Also taken: `trigger`, `channels`, `context`, `max_messages`, `explain`, `at` (of a dry run). Raises ValueError.
        """
        from opportune.decision.record import decision_to_dict
        from opportune.domain.decisions import Ask, Decision
        from opportune.flows.decide import AskRefused, decide

        if ask.get("channels") is not None:
            ask["channels"] = tuple(ask["channels"])
        ask["at"] = _instant(ask.get("at"))
        self._project()
        answer = decide([Ask(customer_id=customer_id, dry_run=dry_run, **ask)], self._installation.desk)[0]
        if isinstance(answer, AskRefused):
            raise ValueError(answer.message)
        assert isinstance(answer, Decision)  # only a firing can be withdrawn
        return decision_to_dict(answer)

    def decide_all(self, at: When | None = None) -> "pd.DataFrame":
        """A dry run for everybody as of an instant (null: now), from what was known then; scores as `p_<model>`."""
        import pandas as pd

        from opportune.flows.decide_all import decide_all

        i = self._installation
        self._archive()
        pages = decide_all(_instant(at) or i.clock.now(), i.desk, i.offline)
        return pd.DataFrame([row for page in pages for row in page])

    def _archive(self) -> None:
        from opportune.flows.publish import archive_events

        i = self._installation
        archive_events(i.ledger, i.archive, i.clock, i.owner)

    def _project(self) -> None:
        """Bring Feast's online store up to the ledger, so that decisions read what a worker would have written."""
        from opportune.flows.project import project

        i = self._installation
        with i.ledger.read() as uow:
            waiting = uow.outbox.depth("project")
        while waiting and project(i.ledger, i.features, i.clock, i.owner):
            continue

    # -- rows ------------------------------------------------------------------------------------------------------

    def _log(
        self, since: datetime | None, until: datetime | None
    ) -> "Iterator[tuple[UnitOfWork, list[StoredDecision]]]":
        cursor = ""
        while True:
            with self._installation.ledger.read() as uow:
                rows, cursor = uow.decisions.after(cursor, _PAGE)
                if not rows:
                    return
                yield (
                    uow,
                    [r for r in rows if (not since or r.decided_at >= since) and (not until or r.decided_at < until)],
                )

    def _decisions(self, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
        from opportune.flows.publish import flat

        unit = self._installation.unit
        for _, rows in self._log(since, until):
            for row in rows:
                made = flat(row, unit(row.customer_id))
                yield {**made, "customer_id": row.customer_id, "decided_at": row.decided_at}

    def _messages(self, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
        for uow, rows in self._log(since, until):
            for send in uow.sends.get(_message_ids(rows)).values():
                found = {name: getattr(send, name) for name in _columns("messages") if hasattr(send, name)}
                yield {
                    **found,
                    "state": send.state.value,
                    "deliver": send.deliver.value,
                    "value_minor": send.payload.get("value_minor"),
                }

    def _outcomes(self, since: datetime | None, until: datetime | None) -> Iterator[dict[str, Any]]:
        for uow, rows in self._log(since, until):
            ids = _message_ids(rows)
            sends = uow.sends.get(ids)
            for message_id, outcomes in uow.outcomes.of(ids).items():
                for o in outcomes:
                    send = sends[message_id]
                    found = {name: getattr(o, name) for name in _columns("outcomes") if hasattr(o, name)}
                    yield {**found, "kind": o.kind.value, "campaign": send.campaign, "channel": send.channel}

    def _exposures(self, experiment: str | None) -> Iterator[dict[str, Any]]:
        import orjson

        names = {experiment} if experiment is not None else set()
        if experiment is None:
            for _, rows in self._log(None, None):
                names |= {e["experiment"] for r in rows for e in orjson.loads(r.decision)["exposures"]}
        with self._installation.ledger.read() as uow:
            for name in sorted(names):
                yield from (dict(row) for row in uow.exposures.of(name))

    def _arrow(self, name: str, rows: Iterator[dict[str, Any]]) -> "pa.Table":
        import pyarrow as pa

        types = {"s": pa.string(), "t": pa.timestamp("us", "UTC"), "i": pa.int64(), "f": pa.float64(), "b": pa.bool_()}
        schema = pa.schema([(column, types[kind]) for column, kind in _columns(name).items()])
        return pa.Table.from_pylist(list(rows), schema=schema)


#: frame -> its columns; s text, t instant, i integer, f number, b true or false
_COLUMNS = {
    "decisions": "decision_id:s customer_id:s unit:s decided_at:t trigger:s mode:s degraded:b n_messages:i campaign:s"
    " channel:s action_probability:f nothing_probability:f scores:s messages:s removed:s draws:s exposures:s playbook:s"
    " code_version:s",
    "messages": "message_id:s decision_id:s customer_id:s rank:i campaign:s trigger:s channel:s variant:s topic:s"
    " purpose:s state:s deliver:s reserved_at:t send_at:t handed_off_at:t expires_at:t is_virtual:b value_minor:i",
    "outcomes": "outcome_id:s message_id:s customer_id:s campaign:s channel:s kind:s at:t recorded_at:t is_machine:b",
    "exposures": "experiment:s variation:s unit:s customer_id:s decision_id:s at:t",
}


def _pandas(table: "pa.Table") -> "pd.DataFrame":
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _columns(name: str) -> dict[str, str]:
    return dict(column.split(":") for column in _COLUMNS[name].split())


def _message_ids(rows: "Sequence[StoredDecision]") -> list[str]:
    import orjson

    return [m["message_id"] for r in rows if r.n_messages for m in orjson.loads(r.decision)["messages"]]


def _instant(value: When | None) -> datetime | None:
    if isinstance(value, str):
        return parse_instant(value)
    if value is not None and value.tzinfo is None:
        raise ValueError(f"{value!r} has no zone: give it one, or write it as text, which means UTC")
    return value
