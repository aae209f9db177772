"""`foreview promote` against a real MLflow, and what both commands say when they cannot go on."""

import json
import secrets
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tests.training.sets import few_trees, grown
from training.bundles import write_bundle
from training.commands import promote
from training.errors import InvalidParameters, RegistryUnavailable, TrainingError
from training.estimators import fit_lightgbm, predict
from training.intervals import calibrate
from training.params import Params, read_params
from training.registry import Registry

ROOT = Path(__file__).parents[2]
MODEL = "foreview-published-synthetic"


def run(*arguments):
    return CliRunner().invoke(promote, [*arguments, "--world", "synthetic", "--json"])


@pytest.fixture
def versions(mlflow_uri, tmp_path, monkeypatch):
    """A champion and a challenger; the champion of before is put back afterwards."""
    monkeypatch.setenv("FOREVIEW_MLFLOW_TRACKING_URI", mlflow_uri)
    registry = Registry(mlflow_uri)
    before = registry.by_alias(MODEL, "champion")
    seen = grown(300, 1)
    boosters = fit_lightgbm(seen, few_trees())
    intervals = calibrate(seen, {m: predict(b, seen) for m, b in boosters.items()}, 20)
    facts = {
        "world": "synthetic",
        "trained_until": secrets.token_hex(4),
        "seed": 1,
    }
    contract = write_bundle(tmp_path / "bundle", boosters, intervals, seen, facts, "# A card")
    made = [
        registry.register(tmp_path / "bundle", contract, {}, {"views_7d_mdape": 0.2}, {})
        for _ in range(2)
    ]
    registry.promote(made[0], "first")
    registry.refuse(made[1], "no better")
    yield registry, *made
    if before is not None:
        registry.promote(before, "put back")


def test_a_dry_run_says_what_would_be_promoted_and_promotes_nothing(versions):
    registry, champion, challenger = versions
    told = json.loads(run("--dry-run").stdout)
    assert told == {
        "model": MODEL,
        "version": challenger.version,
        "champion_before": champion.version,
        "promoted": False,
        "verdict": "refused: no better",
        "metrics": {"views_7d_mdape": 0.2},
    }
    for_people = CliRunner().invoke(promote, ["--dry-run", "--world", "synthetic"]).stdout
    assert "would become champion" in for_people
    assert "refused: no better" in for_people
    assert registry.champion("published", "synthetic") == champion


def test_the_challenger_is_promoted_by_hand_and_any_version_by_its_number(versions):
    registry, champion, challenger = versions
    assert json.loads(run().stdout)["promoted"]
    assert registry.champion("published", "synthetic") == challenger
    assert run("--version", champion.version).exit_code == 0
    assert registry.champion("published", "synthetic") == champion


def test_a_world_without_a_challenger_is_told_how_to_get_one(mlflow_uri, monkeypatch):
    monkeypatch.setenv("FOREVIEW_MLFLOW_TRACKING_URI", mlflow_uri)
    result = CliRunner().invoke(promote, ["--world", "real", "--version", "987"])
    assert isinstance(result.exception, TrainingError)
    assert "no version 987" in str(result.exception)


def test_without_a_registry_nothing_is_promoted(monkeypatch):
    monkeypatch.delenv("FOREVIEW_MLFLOW_TRACKING_URI", raising=False)
    assert isinstance(run().exception, RegistryUnavailable)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("seed: 1", "entity_rows"),
        ("seed: [", "line 1"),
        ("seed: 1\nsplits: {}", "; splits: Extra inputs are not permitted$"),
        ("split: {test_share: 2}", "; split.test_share: Input should be less than 1; "),
        ("lightgbm: {num_leaves: 9}", "lightgbm: .*n_estimators, learning_rate missing; "),
        ("- 1", "file: Input should be a valid dictionary"),
    ],
)
def test_wrong_parameters_are_refused_with_their_place(text, place, tmp_path):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(InvalidParameters, match=place):
        read_params(tmp_path / "params.yaml")


def test_every_parameter_is_one_that_a_stage_of_dvc_runs_again_for():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    named = {
        name
        for stage in stages.values()
        for files in stage.get("params", [])
        for name in files["training/params.yaml"]
    }
    assert named == set(Params.model_fields)
