"""Runs, versions and aliases, against a real MLflow."""

import secrets

import numpy as np
import pytest

from feature_repo import bundle
from foreview.servers.state import free_port
from tests.training.sets import few_trees, grown
from training.bundles import write_bundle
from training.errors import RegistryUnavailable, TrainingError
from training.estimators import fit_lightgbm, predict
from training.intervals import calibrate
from training.onnx_export import predict_growth
from training.registry import Registry, model_name


@pytest.fixture(scope="module")
def registry(mlflow_uri):
    return Registry(mlflow_uri)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of a world of its own, so that no other test's champion is in the way."""
    seen, params = grown(500, 1), few_trees()
    boosters = fit_lightgbm(seen, params)
    intervals = calibrate(seen, {m: predict(b, seen) for m, b in boosters.items()}, 20)
    facts = {
        "world": f"test_{secrets.token_hex(4)}",
        "trained_until": "2026-01-15T12:00:00+00:00",
        "seed": 1,
    }
    directory = tmp_path_factory.mktemp("made") / "bundle"
    return directory, write_bundle(directory, boosters, intervals, seen, facts, "# A card")


@pytest.fixture(scope="module")
def version(registry, made):
    directory, contract = made
    reports = {"report.json": [{"n": 3}]}
    return registry.register(directory, contract, {"seed": 1}, {"views_7d_mdape": 0.25}, reports)


def test_a_registered_version_is_the_challenger_until_it_is_promoted(registry, version, made):
    world = made[1].world
    assert version.name == model_name("published", world) == f"foreview-published-{world}"
    assert registry.by_alias(version.name, "challenger") == version
    assert registry.champion("published", world) is None


def test_a_version_is_tagged_with_what_it_reads_and_what_it_is(version, made, mlflow_uri):
    from mlflow import MlflowClient

    stored = MlflowClient(mlflow_uri, mlflow_uri).get_model_version(version.name, version.version)
    _, contract = made
    stated = {
        "feature_service": "published_v2",
        "schema_hash": contract.schema_hash,
        "world": contract.world,
        "bundle_digest": bundle.bundle_digest(contract),
        "dataset_digest": contract.dataset_digest,
    }
    assert stated.items() <= stored.tags.items()
    assert stored.source.endswith("/bundle")


def test_a_training_is_a_tree_of_runs_down_to_each_metric(registry, made, mlflow_uri):
    from mlflow import MlflowClient

    directory, contract = made
    with registry.training("a training", {"seed": 1}):
        registry.log_search("published", {"num_leaves": 31})
        measured = {"views_7d_mdape": 0.25, "likes_7d_mdape": 0.5}
        found = registry.register(directory, contract, {}, measured, {})
    client = MlflowClient(mlflow_uri, mlflow_uri)
    own = client.get_run(found.run_id)
    parent = client.get_run(own.data.tags["mlflow.parentRunId"])
    assert (parent.info.run_name, parent.data.params) == ("a training", {"seed": "1"})
    everything = client.search_runs([own.info.experiment_id], max_results=1_000)

    def children(run):
        tags = (r for r in everything if r.data.tags.get("mlflow.parentRunId") == run.info.run_id)
        return {child.info.run_name: child for child in tags}

    assert set(children(parent)) == {"tune published", found.name}
    by_metric = children(own)
    assert set(by_metric) == {"published views", "published likes", "published comments"}
    assert by_metric["published likes"].data.metrics == {"likes_7d_mdape": 0.5}
    assert own.data.tags["code_version"]


def test_a_training_that_fails_is_a_failed_run(registry, mlflow_uri):
    from mlflow import MlflowClient

    with pytest.raises(ZeroDivisionError), registry.training("a failure", {}):
        _ = 1 / 0
    client = MlflowClient(mlflow_uri, mlflow_uri)
    experiment = client.get_experiment_by_name("foreview")
    [run] = client.search_runs(
        [experiment.experiment_id], "attributes.run_name = 'a failure'", max_results=1
    )
    assert run.info.status == "FAILED"


# MLflow speaks about its own type hints as it is imported.
@pytest.mark.filterwarnings("ignore:.*type hint:UserWarning")
def test_mlflows_own_tools_load_a_version_with_its_signature(registry, version, tmp_path):
    import mlflow

    downloaded = registry.download(version, tmp_path)
    model = mlflow.pyfunc.load_model(str(downloaded))
    [takes] = model.metadata.get_input_schema().inputs
    example = np.full((2, takes.shape[1]), 3.0, dtype=np.float32)
    answers = model.predict(example)
    assert set(answers) == {"views", "likes", "comments"}
    np.testing.assert_allclose(
        answers["views"].ravel(), predict_growth(downloaded / bundle.MODEL_FILE, example)["views"]
    )
    assert set(model.predict(model.input_example)) == set(answers)


def test_a_bundle_is_downloaded_as_it_was_registered(registry, version, made, tmp_path):
    directory, contract = made
    downloaded = registry.download(version, tmp_path)
    assert bundle.read_contract(downloaded) == contract
    names = {path.relative_to(directory) for path in directory.rglob("*")}
    assert {path.relative_to(downloaded) for path in downloaded.rglob("*")} == names


def test_a_version_keeps_the_measures_of_its_training(registry, version):
    assert registry.metrics(version) == {"views_7d_mdape": 0.25}


def test_a_promoted_version_is_the_champion_and_a_later_one_challenges_it(registry, version, made):
    directory, contract = made
    registry.promote(version, "the first of its kind")
    later = registry.register(directory, contract, {}, {}, {})
    registry.refuse(later, "not shown to be better")
    assert registry.champion("published", contract.world) == version
    assert registry.by_alias(version.name, "challenger") == later
    assert registry.by_number(version.name, later.version) == later


def test_a_version_that_does_not_exist_is_said_to_be_missing(registry, version):
    with pytest.raises(TrainingError, match="no version 99"):
        registry.by_number(version.name, "99")


def test_a_world_without_a_model_has_no_champion(registry):
    assert registry.champion("published", "nowhere") is None


def test_a_registry_without_an_address_says_how_to_get_one():
    with pytest.raises(RegistryUnavailable, match="foreview up"):
        Registry(None)


def test_a_registry_that_is_not_there_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryUnavailable, match="does not answer"):
        Registry(f"http://127.0.0.1:{free_port()}").champion("published", "real")
