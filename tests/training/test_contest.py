"""A challenger against the champion, both from a real registry."""

import secrets

import pytest

from tests.training.sets import few_trees, grown
from training.bundles import write_bundle
from training.contest import verdict
from training.estimators import fit_lightgbm, predict
from training.evaluation import with_intervals
from training.intervals import calibrate
from training.judging import MODEL, Judged
from training.registry import Registry


@pytest.fixture(scope="module")
def registry(mlflow_uri):
    return Registry(mlflow_uri)


@pytest.fixture
def world():
    """A world of its own, so that no other test's champion is in the way."""
    return f"contest_{secrets.token_hex(4)}"


def made(directory, trees, world):
    """Write a bundle of so many trees, which know more of growth the more they are."""
    seen, params = grown(500, 1), few_trees()
    params = params.model_copy(update={"lightgbm": params.lightgbm | {"n_estimators": trees}})
    boosters = fit_lightgbm(seen, params)
    intervals = calibrate(seen, {m: predict(b, seen) for m, b in boosters.items()}, 20)
    facts = {"world": world, "trained_until": "2025-12-01T12:00:00+00:00", "seed": 1}
    return write_bundle(directory, boosters, intervals, seen, facts, "# A card"), (
        boosters, intervals,
    )  # fmt: skip


def judged(model):
    boosters, intervals = model
    asked = grown(300, 2)
    growth = {metric: predict(booster, asked) for metric, booster in boosters.items()}
    rows = [{"model": MODEL, "metric": "views", "subset": "all", "n": 1_200, "coverage_80": 0.8}]
    return Judged(asked, with_intervals(asked, growth, intervals, MODEL), [], rows)


def test_the_better_model_wins_and_the_worse_one_does_not(registry, world, tmp_path):
    """As a training does it: the challenger's bundle lies where the champion's may arrive."""
    few, _ = made(tmp_path / "few" / "bundle", 5, world)
    registry.promote(registry.register(tmp_path / "few" / "bundle", few, {}, {}, {}), "the first")
    scratch = tmp_path / "training"
    many, model = made(scratch / "bundle", 60, world)
    found = verdict(registry, many, judged(model), 1, scratch / "bundle", scratch)
    assert found.promote, found.reason
    assert found.reason.startswith("better: squared error")
    registry.promote(registry.register(scratch / "bundle", many, {}, {}, {}), found.reason)
    again = tmp_path / "again"
    worse, model = made(again / "bundle", 5, world)
    found = verdict(registry, worse, judged(model), 1, again / "bundle", again)
    assert not found.promote
    assert "squared error -" in found.reason


def test_the_same_model_again_is_no_better(registry, world, tmp_path):
    same, model = made(tmp_path / "bundle", 60, world)
    registry.promote(registry.register(tmp_path / "bundle", same, {}, {}, {}), "the first")
    found = verdict(registry, same, judged(model), 1, tmp_path / "bundle", tmp_path)
    assert not found.promote
    assert "+0.0% below the champion's" in found.reason
