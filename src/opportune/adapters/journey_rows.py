"""Instances and steps of journeys <-> stored rows; one form for SQLite, PostgreSQL and memory (see sql_rows)."""

from opportune.adapters.sql_rows import Row, Stored, at_or_null, from_json, to_json, us_or_null
from opportune.domain.instants import from_us, to_us
from opportune.domain.journeys import Ending, Instance, Result, StepTaken

INSTANCE = (
    "instance_id", "customer_id", "journey", "key", "version", "started_at", "started_by", "properties", "step",
    "begun_at", "until_at", "round", "message_ids", "n_said_before", "heard", "listens", "n_taken", "ended_at",
    "ending",
)  # fmt: skip
STEP = ("instance_id", "n", "step", "result", "at", "detail")
STARTED_AT, ENDED_AT = INSTANCE.index("started_at"), INSTANCE.index("ended_at")


def instance_row(it: Instance) -> Stored:
    """Row of an instance."""
    return (
        it.instance_id, it.customer_id, it.journey, it.key, it.version, to_us(it.started_at), it.started_by,
        to_json(it.properties), it.step, us_or_null(it.begun_at), us_or_null(it.until_at), it.round,
        to_json(it.message_ids), it.n_said_before, to_json(it.heard), to_json(it.listens), it.n_taken,
        us_or_null(it.ended_at), None if it.ending is None else it.ending.value,
    )  # fmt: skip


def instance_of(row: Row) -> Instance:
    """Instance of a row."""
    return Instance(
        instance_id=row[0],
        customer_id=row[1],
        journey=row[2],
        key=row[3],
        version=row[4],
        started_at=from_us(row[5]),
        started_by=row[6],
        properties=from_json(row[7]),
        step=row[8],
        begun_at=at_or_null(row[9]),
        until_at=at_or_null(row[10]),
        round=row[11],
        message_ids=tuple(from_json(row[12])),
        n_said_before=row[13],
        heard=tuple(from_json(row[14])),
        listens=tuple(from_json(row[15])),
        n_taken=row[16],
        ended_at=at_or_null(row[17]),
        ending=None if row[18] is None else Ending(row[18]),
    )


def step_row(it: StepTaken) -> Stored:
    """Row of a step taken."""
    return (it.instance_id, it.n, it.step, it.result.value, to_us(it.at), to_json(it.detail))


def step_of(row: Row) -> StepTaken:
    """Step taken of a row."""
    return StepTaken(
        instance_id=row[0],
        n=row[1],
        step=row[2],
        result=Result(row[3]),
        at=from_us(row[4]),
        detail=from_json(row[5]),
    )
