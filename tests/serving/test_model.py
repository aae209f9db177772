import gc
import json

import numpy as np
import pytest

from feature_repo import bundle
from feature_repo.segments import TIERS, interval_group
from feature_repo.targets import METRICS, quantiles
from serving.model import LoadedModel
from serving.onnx_session import OnnxSession
from tests.serving.bundles import HORIZONS, write_bundle

AS_OF = 1_772_280_000.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle")
    write_bundle(path, "synthetic", trees=300)
    return path


@pytest.fixture(scope="module")
def model(directory):
    return LoadedModel(directory, "1")


def stored_values(model, rows, seed=1):
    random = np.random.default_rng(seed)
    values = random.normal(2.0, 1.0, size=(rows, len(model.plan.numbers)))
    names = [name for _, name in model.plan.numbers]
    values[:, names.index("published_at")] = AS_OF - 86400 * random.uniform(1, 30, rows)
    values[:, names.index("observed_at")] = AS_OF - 3600 * random.uniform(0, 20, rows)
    for count in ("view_count", "like_count", "comment_count"):
        values[:, names.index(count)] = random.integers(0, 10**6, rows)
    values[random.random(values.shape) < 0.05] = np.nan
    return values


def test_a_row_is_forecast_the_same_alone_or_in_a_batch_to_the_bit(model):
    values = stored_values(model, 300)
    together = model.predict(model.read(values, AS_OF), (1, 7, 30))
    for row in range(300):
        alone = model.predict(model.read(values[row : row + 1], AS_OF), (1, 7, 30))
        np.testing.assert_array_equal(alone[0], together[row])


def test_a_day_is_forecast_the_same_whatever_other_days_are_asked(model):
    values = stored_values(model, 20)
    given = model.read(values, AS_OF)
    every = model.predict(given, range(1, 31))
    np.testing.assert_array_equal(model.predict(given, (7,))[:, :, 0], every[:, :, 6])


def test_curves_never_fall_and_quantiles_are_in_order(model):
    values = stored_values(model, 500)
    answer = np.rint(model.predict(model.read(values, AS_OF), range(1, 31)))
    views = answer[:, METRICS.index("views")]
    views = views[~np.isnan(views).any(axis=(1, 2))]
    assert len(views) > 300
    assert (np.diff(views, axis=1) >= 0).all()
    assert (np.diff(views, axis=2) >= 0).all()


def test_a_horizon_without_calibration_and_a_hidden_count_have_no_numbers(model):
    values = stored_values(model, 1)
    values[:] = 2.0
    names = [name for _, name in model.plan.numbers]
    values[0, names.index("like_count")] = np.nan
    answer = model.predict(model.read(values, AS_OF), range(1, 31))
    views, likes, comments = answer[0, :, :, 1]
    assert not np.isnan(views).any()
    assert np.isnan(likes).all()
    supported = np.isin(range(1, 31), HORIZONS["comments"])
    np.testing.assert_array_equal(~np.isnan(comments), supported)


def test_onnxruntimes_copy_of_trees_that_are_walked_goes_once_they_are_checked(directory):
    def sessions():
        gc.collect()
        return sum(isinstance(one, OnnxSession) for one in gc.get_objects())

    before, model = sessions(), LoadedModel(directory, "1")
    assert model.engine == "trees"
    assert sessions() == before


def test_a_null_becomes_the_columns_default_and_is_told(model):
    values = np.full((1, len(model.plan.numbers)), np.nan)
    given = model.read(values, AS_OF)
    at = model.columns.index("views_per_hour_1d")
    assert given.features[0, at] == 0.0
    assert given.missing[0, at]
    assert np.isnan(given.features[0, model.columns.index("log10_views")])


def test_nulls_are_counted_by_the_view_they_are_of(model):
    values = stored_values(model, 40)
    views = np.array([view for view, _ in model.plan.numbers])
    counted = dict(zip(model.plan.views, model.read(values, AS_OF).nulls, strict=True))
    assert counted == {view: np.isnan(values[:, views == view]).sum() for view in counted}
    assert all(counted.values())


def test_the_tier_decides_the_width(model):
    values = stored_values(model, 2, seed=3)
    values[1] = values[0]
    names = [name for _, name in model.plan.numbers]
    given = model.read(values, AS_OF)
    assert set(given.tiers.tolist()) <= set(range(len(TIERS)))
    values[:, names.index("channel_early_log10_views")] = [3.5, 3.5]
    given = model.read(values, AS_OF)
    assert [TIERS[number] for number in given.tiers] == ["1e3", "1e3"]


def test_trees_in_the_bundle_agree_with_a_plain_reading_of_onnx(model, directory):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(directory / bundle.MODEL_FILE))
    values = stored_values(model, 5)
    given = model.read(values, AS_OF)
    row = np.append(given.features[3], np.float32(7.0))[np.newaxis]
    plain = session.run(["views_growth"], {bundle.MODEL_INPUT: row})[0][0, 0]
    np.testing.assert_array_equal(model._growth(given.features, np.array([7]))[3, 0, 0], plain)


def test_a_damaged_part_is_refused(tmp_path):
    write_bundle(tmp_path, "synthetic", trees=3)
    with (tmp_path / bundle.MODEL_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(bundle.BundleError, match=r"model\.onnx differs"):
        LoadedModel(tmp_path, "1")


def test_a_contract_that_disagrees_with_its_model_is_refused(tmp_path):
    write_bundle(tmp_path, "synthetic", trees=3)
    path = tmp_path / bundle.CONTRACT_FILE
    contract = json.loads(path.read_text())
    contract["metrics"]["views"]["output"] = "nothing"
    path.write_text(json.dumps(contract))
    with pytest.raises(bundle.BundleError, match="lacks the outputs"):
        LoadedModel(tmp_path, "1")


def test_a_bundle_for_drafts_is_refused(tmp_path):
    write_bundle(tmp_path, "synthetic", trees=3)
    path = tmp_path / bundle.CONTRACT_FILE
    contract = json.loads(path.read_text())
    contract["situation"] = "draft"
    path.write_text(json.dumps(contract))
    with pytest.raises(bundle.BundleError, match="draft"):
        LoadedModel(tmp_path, "1")


def test_a_bundle_that_forecasts_growth_of_nothing_is_refused(tmp_path):
    write_bundle(tmp_path, "synthetic", trees=3)
    path = tmp_path / bundle.CONTRACT_FILE
    contract = json.loads(path.read_text())
    contract["metrics"]["views"]["count_column"] = None
    path.write_text(json.dumps(contract))
    with pytest.raises(bundle.BundleError, match="since which count"):
        LoadedModel(tmp_path, "1")


@pytest.mark.parametrize("age_column", ["age_hours", None])
def test_quantiles_are_those_of_the_arithmetic_for_arrays_to_the_bit(tmp_path, age_column):
    write_bundle(tmp_path, "synthetic", trees=30, age_column=age_column)
    model, days = LoadedModel(tmp_path, "1"), (1, 3, 7, 30)
    given = model.read(stored_values(model, 300), AS_OF)
    groups = np.array(TIERS)[given.tiers]
    if age_column is not None:
        ages = given.features[:, model.columns.index(age_column)].astype(np.float64)
        assert np.isnan(ages).any()
        groups = interval_group(groups, ages)
    intervals = bundle.read_intervals(tmp_path)
    session = OnnxSession(tmp_path, model.contract)
    growth = session.evaluate(given.features, np.array(days)).astype(np.float64)
    answer = model.predict(given, days)
    offsets_met = set()
    for row, group in enumerate(groups.tolist()):
        for at, metric in enumerate(METRICS):
            offsets = np.array(intervals.table(metric, group).at(days))
            offsets_met.add(offsets.tobytes())
            counts = np.full(len(days), given.counts[row, at])
            wanted = quantiles(counts, growth[row, at], offsets)
            wanted[~np.isin(days, HORIZONS[metric])] = np.nan
            np.testing.assert_array_equal(answer[row, at], wanted)
    assert len(offsets_met) == 2
