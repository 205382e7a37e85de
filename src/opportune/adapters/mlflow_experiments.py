"""ExperimentLog on MLflow: `ab/<experiment>`, one run per variation; traces beside them. Idempotent by construction.

Runs are found by a tag, points compared with what is there, artifacts written under the name of their batch, traces and
spans given ids made of experiment and decision.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from opportune.adapters.mlflow_runlog import MlflowRunLog, reaching
from opportune.domain.instants import to_us
from opportune.ports import Point, SpanRecord, TraceRecord, VariationRun

log = logging.getLogger("opportune.mlflow")
#: Decisions exposed to no experiment.
DECISIONS = "decisions"
_VARIATION = "variation"
_NOTE = "mlflow.note.content"
_DECISION = "decision_id"
#: MLflow takes at most so many metrics in one call.
_BATCH = 1000


class MlflowExperiments:
    """The `ab/` half of the run log, on the same client."""

    def __init__(self, runlog: MlflowRunLog) -> None:
        self._runlog = runlog

    def log_variation(self, run: VariationRun, points: Sequence[Point]) -> int:
        """See the port."""
        from mlflow.entities import Metric, Param, RunTag

        client = self._runlog.client
        with reaching(self._runlog.uri):
            experiment_id = self._runlog.experiment(f"ab/{run.experiment}")
            self._set_experiment_note(experiment_id, run.experiment_note)
            run_id = self._run(run.experiment, run.variation, to_us(run.started_at) // 1000)
            there = client.get_run(run_id)
            params = [Param(k, v) for k, v in run.params.items() if k not in there.data.params]
            wanted = {**run.tags, _NOTE: run.note}
            tags = [RunTag(k, v) for k, v in wanted.items() if there.data.tags.get(k) != v]
            fresh = self._fresh(run_id, points)
            if params or tags:
                client.log_batch(run_id, params=params, tags=tags)
            for start in range(0, len(fresh), _BATCH):
                part = fresh[start : start + _BATCH]
                client.log_batch(run_id, metrics=[Metric(p.metric, p.value, ms, p.step) for p, ms in part])
            if run.ended_at is None and there.info.status != "RUNNING":
                client.update_run(run_id, "RUNNING")
            elif run.ended_at is not None and there.info.status == "RUNNING":
                client.set_terminated(run_id, "FINISHED", end_time=to_us(run.ended_at) // 1000)
        return len(fresh)

    def log_variation_decisions(self, experiment: str, variation: str, batch_id: str, parquet: bytes) -> None:
        """See the port. The same batch again is written over itself."""
        with reaching(self._runlog.uri), tempfile.TemporaryDirectory() as folder:
            run_id = self._run(experiment, variation)
            path = Path(folder) / f"{batch_id}.parquet"
            path.write_bytes(parquet)
            self._runlog.client.log_artifact(run_id, str(path), "decisions")

    def log_traces(self, experiment: str | None, traces: Sequence[TraceRecord]) -> int:
        """See the port. A tracking server older than 3.4 takes no spans: said in the log, the rest goes on."""
        from mlflow.entities import Span

        with reaching(self._runlog.uri):
            name = DECISIONS if experiment is None else f"ab/{experiment}"
            experiment_id = self._runlog.experiment(name)
            by_id = {f"tr-{_hex(name, trace.decision_id, digits=32)}": trace for trace in traces}
            fresh = {trace_id: by_id[trace_id] for trace_id in by_id if not self._is_whole(trace_id)}
            if not fresh:
                return 0
            arms = {trace.variation for trace in fresh.values() if trace.variation} if experiment else set()
            runs = {arm: self._run(experiment or "", arm) for arm in sorted(arms)}
            spans = [Span.from_dict(span) for trace_id, trace in fresh.items() for span in _spans(trace_id, trace)]
            try:
                self._store.log_spans(experiment_id, spans)
            except RuntimeError as problem:  # what the store says of an older server
                log.warning("%d traces are left out: %s", len(fresh), problem)
                return 0
            for trace_id, trace in fresh.items():
                self._store.start_trace(_info(trace_id, experiment_id, runs.get(trace.variation or ""), trace))
        return len(fresh)

    @property
    def _store(self) -> Any:
        """The tracking store itself: the client's public calls can neither name a trace nor say when it was."""
        return self._runlog.client._tracing_client.store

    def _is_whole(self, trace_id: str) -> bool:
        """The trace is there with its tags, which are written last."""
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._store.get_trace_info(trace_id).tags.get(_DECISION))
        except MlflowException as problem:
            if problem.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _run(self, experiment: str, variation: str, start_ms: int | None = None) -> str:
        """The run of a variation, made when it is not there. `start_ms` null: it starts now."""
        client = self._runlog.client
        experiment_id = self._runlog.experiment(f"ab/{experiment}")
        found = client.search_runs([experiment_id], f"tags.{_VARIATION} = '{variation}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {_VARIATION: variation, "experiment": experiment}
        return str(client.create_run(experiment_id, run_name=variation, start_time=start_ms, tags=tags).info.run_id)

    def _set_experiment_note(self, experiment_id: str, note: str) -> None:
        client = self._runlog.client
        if client.get_experiment(experiment_id).tags.get(_NOTE) != note:
            client.set_experiment_tag(experiment_id, _NOTE, note)

    def _fresh(self, run_id: str, points: Sequence[Point]) -> list[tuple[Point, int]]:
        """Points whose step has no value yet, or another one; with their instants in ms, a correction's a later one."""
        found: list[tuple[Point, int]] = []
        by_metric: dict[str, list[Point]] = {}
        for point in points:
            by_metric.setdefault(point.metric, []).append(point)
        for metric, mine in by_metric.items():
            newest: dict[int, tuple[int, float]] = {}
            for m in self._runlog.client.get_metric_history(run_id, metric):
                newest[m.step] = max(newest.get(m.step, (m.timestamp, m.value)), (m.timestamp, m.value))
            for point in mine:
                ms = to_us(point.at) // 1000
                at, value = newest.get(point.step, (None, None))
                if at is None or value != point.value:
                    found.append((point, ms if at is None else max(ms, at + 1)))
        return found


def _info(trace_id: str, experiment_id: str, run_id: str | None, trace: TraceRecord) -> Any:
    """What MLflow lists a trace by."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    began = to_us(trace.at) * 1000
    ended = max([s.ended_ns for s in trace.spans], default=began)
    inputs, outputs = (json.dumps(shown, default=str) for shown in (trace.inputs, trace.outputs))
    return TraceInfo(
        trace_id=trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=began // 1_000_000,
        execution_duration=(ended - began) // 1_000_000,
        state=TraceState.ERROR if trace.is_error else TraceState.OK,
        request_preview=inputs,
        response_preview=str(trace.outputs.get("summary", outputs)),
        client_request_id=trace.decision_id,
        trace_metadata={
            "mlflow.trace_schema.version": "3",
            "mlflow.traceInputs": inputs,
            "mlflow.traceOutputs": outputs,
            **({"mlflow.sourceRun": run_id} if run_id else {}),
        },
        tags={**trace.tags, "mlflow.traceName": "decision"},
    )


def _spans(trace_id: str, trace: TraceRecord) -> Iterable[dict[str, Any]]:
    """The root span and one below it per stage, in MLflow's own form."""
    root = _hex(trace_id, "root", digits=16)
    began = to_us(trace.at) * 1000
    ended = max([s.ended_ns for s in trace.spans], default=began)
    yield _span(
        trace_id,
        root,
        "",
        SpanRecord(name="decision", started_ns=began, ended_ns=ended, attributes=dict(trace.tags)),
        {"mlflow.spanInputs": trace.inputs, "mlflow.spanOutputs": trace.outputs},
        trace.is_error,
    )
    for n, span in enumerate(trace.spans):
        outputs = {key: span.attributes[key] for key in ("kept", "removed") if key in span.attributes}
        yield _span(trace_id, _hex(trace_id, str(n), digits=16), root, span, {"mlflow.spanOutputs": outputs}, False)


def _span(
    trace_id: str, span_id: str, parent_id: str, span: SpanRecord, shown: dict[str, Any], is_error: bool
) -> dict[str, Any]:
    attributes = {
        "mlflow.traceRequestId": trace_id,
        "mlflow.spanType": "CHAIN" if not parent_id else "TOOL",
        **shown,
        **{k: v for k, v in span.attributes.items() if k not in ("kept", "removed")},
    }
    return {
        "trace_id": trace_id,
        "span_id": span_id,
        "parent_span_id": parent_id,
        "name": span.name,
        "start_time_unix_nano": span.started_ns,
        "end_time_unix_nano": span.ended_ns,
        "attributes": {key: json.dumps(value, default=str) for key, value in attributes.items()},
        "status": {"code": "STATUS_CODE_ERROR" if is_error else "STATUS_CODE_OK", "message": ""},
        "events": [],
    }


def _hex(*parts: str, digits: int) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:digits]
