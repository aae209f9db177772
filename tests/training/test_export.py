"""The exported graph against the trees it comes from, where float32 and nulls are hardest."""

import lightgbm as lgb
import numpy as np
import pytest

from feature_repo.targets import METRICS
from serving.trees import Forest
from tests.training.sets import COLUMNS, few_trees, grown
from training.estimators import fit_lightgbm
from training.onnx_export import TOLERANCE, check_equal, predict_growth, write_onnx


@pytest.fixture(scope="module")
def boosters():
    return fit_lightgbm(grown(2_000, 1), few_trees())


def splits(booster):
    """Give (feature, threshold) of every split."""
    frame = booster.trees_to_dataframe().dropna(subset=["split_feature"])
    features = frame["split_feature"].map(booster.feature_name().index)
    return list(zip(features, frame["threshold"].astype(float), strict=True))


def test_a_value_at_a_threshold_goes_down_the_same_branch_as_in_the_native_trees(
    boosters, tmp_path
):
    write_onnx(boosters, tmp_path / "model.onnx")
    seen = grown(300, 2)
    matrix = seen.matrix(seen.labels)
    rows = []
    for feature, split in splits(boosters["views"]):
        threshold = min(split, 1e4)  # what is far above parts nulls from all else: see below
        for value in np.nextafter(np.float32(threshold), np.float32([-np.inf, np.inf])):
            row = matrix[len(rows) % len(matrix)].copy()
            row[feature] = value
            at = row.copy()
            at[feature] = np.float32(threshold)
            rows += [row, at]
    assert check_equal(boosters, tmp_path / "model.onnx", np.array(rows)) < TOLERANCE


def test_a_threshold_between_neighbouring_floats_is_not_rounded_up(tmp_path):
    # From 1e8 on neighbouring float32 are 8 apart: half of all midpoints round up.
    value = np.repeat(np.float32(1e8) + np.arange(4_000, dtype=np.float32) * 8, 3)
    matrix = np.column_stack([value, np.zeros_like(value)])
    target = (np.arange(len(value)) // 150 % 2).astype(float)
    fine = {"max_bin": 4095, "min_data_in_bin": 1, "verbosity": -1}
    settings = {"min_child_samples": 1, "num_leaves": 63, "num_threads": 1, "verbosity": -1}
    booster = lgb.train(settings, lgb.Dataset(matrix, target, params=fine), 30)
    write_onnx({"views": booster}, tmp_path / "model.onnx")
    assert check_equal({"views": booster}, tmp_path / "model.onnx", matrix) < TOLERANCE


def test_where_trees_answer_less_than_no_growth_it_is_none_in_graph_and_kernel(tmp_path):
    seen = grown(500, 5)
    counts = seen.labels[list(METRICS)]
    labels = seen.labels.assign(**(counts - counts.median()))
    boosters = fit_lightgbm(seen._replace(labels=labels), few_trees())
    write_onnx(boosters, tmp_path / "model.onnx")
    matrix, days = seen.matrix(seen.labels)[:200], 7
    matrix[:, -1] = days
    graph = predict_growth(tmp_path / "model.onnx", matrix)
    forest = Forest(tmp_path / "model.onnx", METRICS, [column.name for column in COLUMNS])
    walked = forest.evaluate(matrix[:, :-1], np.array([days]))
    for at, metric in enumerate(METRICS):
        less = boosters[metric].predict(matrix) < 0
        assert 20 < less.sum() < 200
        np.testing.assert_array_equal(graph[metric] == 0, less)
        np.testing.assert_array_equal(walked[:, at, 0] == 0, less)
        np.testing.assert_allclose(walked[:, at, 0], graph[metric], atol=1e-6)


def test_nulls_go_down_the_same_branch_in_every_column_and_all_at_once(boosters, tmp_path):
    write_onnx(boosters, tmp_path / "model.onnx")
    seen = grown(500, 3)
    matrix = seen.matrix(seen.labels)
    blanked = [matrix.copy() for _ in COLUMNS]
    for column, part in enumerate(blanked):
        part[:, column] = np.nan
    blank = np.full_like(matrix, np.nan)
    everything = np.vstack([*blanked, blank])
    assert check_equal(boosters, tmp_path / "model.onnx", everything) < TOLERANCE


def test_a_null_in_a_column_that_never_had_one_goes_the_same_way(tmp_path):
    seen = grown(2_000, 4)
    whole = seen._replace(features=np.nan_to_num(seen.features, nan=3.0) - np.float32(3.0))
    boosters = fit_lightgbm(whole, few_trees())
    write_onnx(boosters, tmp_path / "model.onnx")
    blank = seen.matrix(seen.labels)
    assert check_equal(boosters, tmp_path / "model.onnx", blank) < TOLERANCE


def test_the_native_trees_are_monotone_in_the_horizon_with_nulls_too(boosters):
    days = np.arange(0.25, 31, 0.25, dtype=np.float32)
    for question in grown(60, 5).features:
        matrix = np.column_stack([np.tile(question, (len(days), 1)), days])
        for booster in boosters.values():
            assert (np.diff(booster.predict(matrix)) >= 0).all()


def test_a_split_that_parts_nulls_from_all_else_is_exported(tmp_path):
    rng = np.random.default_rng(6)
    value = np.where(rng.random(4_000) < 0.5, np.nan, rng.uniform(-1, 1, 4_000)).astype(np.float32)
    matrix = np.column_stack([value, rng.random(4_000, np.float32)])
    settings = {"num_leaves": 4, "num_threads": 1, "verbosity": -1}
    booster = lgb.train(settings, lgb.Dataset(matrix, np.isnan(value) * 1.0), 3)
    assert max(threshold for _, threshold in splits(booster)) > float(np.finfo(np.float32).max)
    write_onnx({"views": booster}, tmp_path / "model.onnx")
    assert check_equal({"views": booster}, tmp_path / "model.onnx", matrix) < TOLERANCE
