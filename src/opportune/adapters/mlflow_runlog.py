"""RunLog on MLflow: SQLite and files in the home by default. For worker and jobs; the serving process never loads it.

Only the client API with explicit addresses is used: no global tracking URI, nothing outside the home.
"""

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from opportune.features.catalog import BY_NAME
from opportune.learning import manifest as manifests
from opportune.ports import Unavailable

CHAMPION, CHALLENGER = "champion", "challenger"
_MODEL_FOLDER = "model"
_FILES = "data/files"  # where pyfunc keeps our folder inside the model
_BATCH_TAG = "batch_id"
_NOTE = "mlflow.note.content"
#: MLflow refuses longer tag values.
_TAG_LENGTH = 5000


class MlflowRunLog:
    """Runs under `training/<model>` and `decisions`; versions and aliases in the model registry."""

    def __init__(self, home: Path, uri: str | None = None) -> None:
        """`uri` null: `mlflow.db` and `mlartifacts/` in the home; else an MLflow address that knows its own."""
        self._home = home.absolute()
        self.uri = uri or f"sqlite:///{self._home / 'mlflow.db'}"
        self._artifacts = None if uri else (self._home / "mlartifacts").as_uri()

    @cached_property
    def client(self) -> Any:
        """The MLflow client of this store, made on first use."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self._home.mkdir(parents=True, exist_ok=True)
        with reaching(self.uri):
            return mlflow.MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def log_training(self, name: str, run: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
        """One run with params, metrics, tags and files, and a registered version of it; returns the version.

        `run` holds `params`, `metrics`, `tags`. The manifest among `files` is given its version here.
        """
        manifest = manifests.parse(files[manifests.MANIFEST])
        with reaching(self.uri):
            self._registered(name)
            run_id, root = self._start(f"training/{name}", f"{name} as of {manifest.get('as_of', '')}")
            status = "FAILED"
            try:
                # the version is asked for first, so that the files can name it; aliases move only when all is there
                version = self.client.create_model_version(
                    name, source=f"{root}/{_MODEL_FOLDER}", run_id=run_id, tags=_tags(run.get("tags", {}))
                ).version
                whole = {**files, manifests.MANIFEST: manifests.dump({**manifest, "version": str(version)})}
                self._log(run_id, run, whole, manifest)
                self.client.set_registered_model_alias(name, CHALLENGER, version)
                status = "FINISHED"
            finally:
                self.client.set_terminated(run_id, status)
        return str(version)

    def champion(self, name: str) -> str | None:
        """Version under the alias `champion`; null when none."""
        return self._aliases(name).get(CHAMPION)

    def promote(self, name: str, version: str) -> None:
        """Point the alias `champion` at a version; one that was `challenger` is that no longer. Raises ValueError."""
        from mlflow.exceptions import MlflowException

        aliases = self._aliases(name)
        with reaching(self.uri):
            try:
                self.client.get_model_version(name, version)
            except MlflowException as problem:
                raise ValueError(f"{name} has no version {version}") from problem
            self.client.set_registered_model_alias(name, CHAMPION, version)
            if aliases.get(CHALLENGER) == version:
                self.client.delete_registered_model_alias(name, CHALLENGER)

    def versions(self, name: str) -> list[Mapping[str, Any]]:
        """Oldest first: version, created_at, verdict, kind, as_of, reasons, run_id, is_champion, is_challenger."""
        aliases = self._aliases(name)
        with reaching(self.uri):
            found = list(self.client.search_model_versions(f"name = '{name}'"))
        rows = [
            {
                "version": str(v.version),
                "created_at": datetime.fromtimestamp(v.creation_timestamp / 1000, UTC).isoformat(),
                **{tag: v.tags.get(tag) for tag in ("verdict", "kind", "as_of", "cohort", "reasons")},
                "run_id": v.run_id,
                "is_champion": aliases.get(CHAMPION) == str(v.version),
                "is_challenger": aliases.get(CHALLENGER) == str(v.version),
            }
            for v in found
        ]
        return sorted(rows, key=lambda row: int(str(row["version"])))

    def fetch(self, name: str, version: str) -> dict[str, bytes]:
        """The model's files as they were logged. Raises ValueError when there is no such version."""
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder, reaching(self.uri):
            try:
                source = self.client.get_model_version(name, version).source
                path = download_artifacts(artifact_uri=f"{source}/{_FILES}", dst_path=folder, tracking_uri=self.uri)
            except (MlflowException, OSError) as problem:
                raise ValueError(f"{name}/{version} cannot be fetched: {problem}") from problem
            return {file.name: file.read_bytes() for file in Path(path).iterdir() if file.is_file()}

    def log_decisions(self, experiment: str, batch_id: str, parquet: bytes, metrics: Mapping[str, float]) -> None:
        """One run per batch with one Parquet artifact; a batch that is whole already is left alone."""
        with reaching(self.uri):
            experiment_id = self.experiment(experiment)
            found = self.client.search_runs(
                [experiment_id], f"tags.{_BATCH_TAG} = '{batch_id}' and attributes.status = 'FINISHED'", max_results=1
            )
            if found:
                return
            run_id, _ = self._start(experiment, batch_id, {_BATCH_TAG: batch_id})
            status = "FAILED"
            try:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / f"{batch_id}.parquet"
                    path.write_bytes(parquet)
                    self.client.log_artifact(run_id, str(path))
                self.client.log_batch(run_id, metrics=_metrics(metrics))
                status = "FINISHED"
            finally:
                self.client.set_terminated(run_id, status)

    def _log(
        self, run_id: str, run: Mapping[str, Any], files: Mapping[str, bytes], manifest: Mapping[str, Any]
    ) -> None:
        from mlflow.entities import Param, RunTag

        self.client.log_batch(
            run_id,
            metrics=_metrics(run.get("metrics", {})),
            params=[Param(k, str(v)) for k, v in run.get("params", {}).items()],
            tags=[RunTag(k, v) for k, v in _tags(run.get("tags", {})).items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            ours = Path(folder) / "files"
            ours.mkdir()
            for file, data in files.items():
                (ours / file).write_bytes(data)
            model = Path(folder) / _MODEL_FOLDER
            _save(model, ours, manifest)
            self.client.log_artifacts(run_id, str(model), _MODEL_FOLDER)
            for file in (manifests.CARD, manifests.TABLE):  # beside the model as well, to be seen at once
                if file in files:
                    self.client.log_artifact(run_id, str(ours / file))

    def _registered(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as problem:
            if problem.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _aliases(self, name: str) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        with reaching(self.uri):
            try:
                return {k: str(v) for k, v in self.client.get_registered_model(name).aliases.items()}
            except MlflowException as problem:
                if problem.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise

    def experiment(self, name: str) -> str:
        """Id of the experiment of this name, made when it is not there."""
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = f"{self._artifacts}/{name}" if self._artifacts else None
        try:
            return str(self.client.create_experiment(name, artifact_location=place, tags=about(name)))
        except MlflowException as problem:
            if problem.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
            return str(self.client.get_experiment_by_name(name).experiment_id)

    def _start(self, experiment: str, name: str, tags: Mapping[str, str] | None = None) -> tuple[str, str]:
        run = self.client.create_run(self.experiment(experiment), run_name=name, tags=dict(tags or {}))
        return str(run.info.run_id), str(run.info.artifact_uri)


def _save(target: Path, ours: Path, manifest: Mapping[str, Any]) -> None:
    """A proper MLflow model with a signature around our files: no pickle, loaded by opportune.learning.flavour."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    vectors = {name for name in manifest["features"] if name in BY_NAME and BY_NAME[name].dtype == "vector"}
    inputs = Schema(
        [
            ColSpec(Array(DataType.double) if name in vectors else DataType.double, name, required=False)
            for name in manifest["features"]
        ]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example.*")  # golden rows do that work
        mlflow.pyfunc.save_model(
            path=str(target),
            loader_module="opportune.learning.flavour",
            data_path=str(ours),
            signature=ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType.double)])),
            pip_requirements=["opportune"],
            metadata={"target": manifest.get("target"), "kind": manifest.get("kind")},
        )
    shutil.rmtree(target / "__pycache__", ignore_errors=True)


def about(experiment: str) -> dict[str, str]:
    """Tags of a new experiment: shown among model training, not among chat applications, with what it holds."""
    kind = experiment.partition("/")[0]
    notes = {
        "training": "Every training run of this model: data, parameters, metrics, card, and the verdict of the gates.",
        "decisions": "Every decision, as Parquet, a run per batch. Customers are known by pseudonymous units only. "
        "Those exposed to an experiment are also in its `ab/...`.",
    }
    note = {_NOTE: notes[kind]} if kind in notes else {}
    return {"mlflow.experimentKind": "custom_model_development", **note}


def _metrics(metrics: Mapping[str, float]) -> list[Any]:
    from mlflow.entities import Metric

    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return [Metric(name, float(value), now_ms, 0) for name, value in metrics.items()]


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {k: str(v)[:_TAG_LENGTH] for k, v in tags.items() if v not in (None, "")}


class reaching:
    """Turns a store that cannot be reached into Unavailable; everything else goes on as it is."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.split("@")[-1]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: object) -> None:
        if problem is None or not isinstance(problem, Exception):
            return
        text = str(problem)
        unreachable = ("Connection refused", "Max retries", "OperationalError", "unable to open", "timed out")
        if isinstance(problem, ConnectionError) or any(sign in text for sign in unreachable):
            raise Unavailable(
                f"MLflow at {self.uri} cannot be reached: start it, or set OPPORTUNE_MLFLOW_URI"
            ) from problem
