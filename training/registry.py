"""MLflow: runs, registered models and their aliases; the only module here that talks to it."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from feature_repo.bundle import Contract, bundle_digest
from training.errors import RegistryUnavailable, TrainingError
from training.mlmodel import write_mlmodel
from training.provenance import environment, provenance_tags

EXPERIMENT = "foreview"
CHAMPION, CHALLENGER = "champion", "challenger"


class ModelVersion(NamedTuple):
    """A version of a registered model."""

    name: str
    version: str
    run_id: str


def model_name(situation: str, world: str) -> str:
    """Name the registered model of a situation and world."""
    return f"foreview-{situation}-{world}"


class Registry:
    """An MLflow tracking server by its address."""

    def __init__(self, tracking_uri: str | None) -> None:
        if tracking_uri is None:
            raise RegistryUnavailable(
                "FOREVIEW_MLFLOW_TRACKING_URI is not set: run `foreview up`, "
                "or set it to your own MLflow server"
            )
        self._uri = tracking_uri
        self._client = MlflowClient(tracking_uri, tracking_uri)
        self._training: str | None = None
        # Our own progress says what is under way.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

    @contextmanager
    def training(self, title: str, params: Mapping[str, Any]) -> Iterator[None]:
        """Gather what is registered meanwhile under one run: a tree per training.

        Args:
            title: Of the run.
            params: Flat parameters that all of it shares.
        """
        with self._run(title, {"kind": "training"}) as run:
            mlflow.log_params(dict(params))
            self._training = run.info.run_id
        try:
            yield
        except BaseException:
            self._client.set_terminated(run.info.run_id, "FAILED")
            raise
        finally:
            self._training = None

    def log_search(self, situation: str, found: Mapping[str, Any]) -> None:
        """Log what a search of parameters came to, as a run of the training under way."""
        with self._run(f"tune {situation}", {"kind": "tuning"}, self._training):
            mlflow.log_params(dict(found))

    def register(
        self,
        bundle: Path,
        contract: Contract,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        reports: Mapping[str, Any],
    ) -> ModelVersion:
        """Log a training as a run and its bundle as a new version, the challenger.

        Args:
            bundle: Directory of the bundle.
            contract: Its contract.
            params: Flat parameters of the run.
            metrics: Flat metrics of the run.
            reports: By file name: texts, figures, and what becomes JSON.
        """
        try:
            return self._register(bundle, contract, params, metrics, reports)
        except MlflowException as error:
            raise RegistryUnavailable(f"MLflow at {self._uri} refused: {error}") from error

    def champion(self, situation: str, world: str) -> ModelVersion | None:
        """Give the champion of a situation and world; None where there is none."""
        return self.by_alias(model_name(situation, world), CHAMPION)

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """Give the version of a model that an alias names; None where there is none."""
        try:
            found = self._client.get_model_version_by_alias(name, alias)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise RegistryUnavailable(f"MLflow at {self._uri} does not answer: {error}") from error
        return ModelVersion(name, str(found.version), str(found.run_id))

    def by_number(self, name: str, version: str) -> ModelVersion:
        """Give a version by its number; raises TrainingError where there is none."""
        try:
            found = self._client.get_model_version(name, version)
        except MlflowException as error:
            raise TrainingError(f"{name} has no version {version} at {self._uri}") from error
        return ModelVersion(name, str(found.version), str(found.run_id))

    def metrics(self, version: ModelVersion) -> dict[str, float]:
        """Give the metrics of the run that made a version."""
        return dict(self._client.get_run(version.run_id).data.metrics)

    def promote(self, version: ModelVersion, reason: str) -> None:
        """Make a version the champion, with the reason as a tag of it."""
        self._client.set_registered_model_alias(version.name, CHAMPION, version.version)
        self._client.set_model_version_tag(version.name, version.version, "promoted", reason)

    def refuse(self, version: ModelVersion, reason: str) -> None:
        """Note why a version stays a challenger."""
        self._client.set_model_version_tag(version.name, version.version, "refused", reason)

    def verdict(self, version: ModelVersion) -> str | None:
        """Give what it was refused and promoted for, so far; None where it was neither."""
        tags = self._client.get_model_version(version.name, version.version).tags
        told = [f"{done}: {tags[done]}" for done in ("refused", "promoted") if done in tags]
        return "; ".join(told) or None

    def download(self, version: ModelVersion, directory: Path) -> Path:
        """Download the bundle of a version into a directory of its own below this one; gives it.

        MLflow names each alike and writes over what is there.
        """
        path = mlflow.artifacts.download_artifacts(
            run_id=version.run_id,
            artifact_path="bundle",
            dst_path=str(directory / f"{version.name}-{version.version}"),
            tracking_uri=self._uri,
        )
        return Path(path)

    def _register(
        self,
        bundle: Path,
        contract: Contract,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        reports: Mapping[str, Any],
    ) -> ModelVersion:
        name = model_name(contract.situation, contract.world)
        tags = {
            "feature_service": contract.feature_service,
            "schema_hash": contract.schema_hash,
            "world": contract.world,
            "bundle_digest": bundle_digest(contract),
            "dataset_digest": contract.dataset_digest,
            **provenance_tags(),
        }
        write_mlmodel(bundle, contract)
        with self._run(name, tags, self._training) as run:
            mlflow.log_params(dict(params))
            mlflow.log_metrics(dict(metrics))
            mlflow.log_artifacts(str(bundle), "bundle")
            mlflow.log_dict(environment(), "environment.json")
            for file, document in reports.items():
                _log(document, file)
            source = mlflow.get_artifact_uri("bundle")
        for metric in contract.metrics:
            with self._run(f"{contract.situation} {metric}", tags, run.info.run_id):
                own = {n: v for n, v in metrics.items() if n.startswith(f"{metric}_")}
                mlflow.log_metrics(own)
        self._ensure_model(name)
        made = self._client.create_model_version(name, source, run.info.run_id, tags=tags)
        self._client.set_registered_model_alias(name, CHALLENGER, made.version)
        return ModelVersion(name, str(made.version), run.info.run_id)

    @contextmanager
    def _run(
        self, name: str, tags: Mapping[str, str], parent: str | None = None
    ) -> Iterator[mlflow.ActiveRun]:
        try:
            mlflow.set_tracking_uri(self._uri)
            mlflow.set_experiment(EXPERIMENT)
            # MLflow prints where a run can be seen; standard output is for answers.
            with (
                redirect_stdout(StringIO()),
                mlflow.start_run(
                    run_name=name, tags=dict(tags), parent_run_id=parent, log_system_metrics=False
                ) as run,
            ):
                yield run
        except MlflowException as error:
            raise RegistryUnavailable(f"MLflow at {self._uri} refused: {error}") from error

    def _ensure_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _log(document: Any, file: str) -> None:
    if isinstance(document, str):
        mlflow.log_text(document, file)
    elif hasattr(document, "savefig"):
        mlflow.log_figure(document, file)
    else:
        mlflow.log_dict(document, file)
