"""The bundle that training writes, read by those who serve it."""

import asyncio
import shutil

import lightgbm
import numpy as np
import onnx
import orjson
import pyarrow.parquet as pq
import pytest

from feature_repo import bundle
from feature_repo.targets import METRICS, QUANTILES
from feature_repo.transformations.request import published_request
from serving.explanations import Explainer
from serving.model import LoadedModel
from serving.onnx_session import OnnxSession
from tests.training.sets import COLUMNS, few_trees, grown
from training.bundles import write_bundle
from training.card import model_card
from training.contest import compare
from training.dataset import TrainingSet
from training.estimators import fit_lightgbm, growth_by, predict
from training.evaluation import with_intervals
from training.intervals import calibrate
from training.onnx_export import predict_growth

FACTS = {
    "world": "synthetic",
    "trained_until": "2025-10-01T12:00:00+00:00",  # before all that is asked
    "seed": 1,
}
AS_OF = 1_768_478_400.0


def written(directory, labels=2_000, **more):
    """Fit, calibrate and write a bundle of drawn data; more facts override."""
    seen, held_out, params = grown(labels, 1), grown(2_000, 2), few_trees()
    boosters = fit_lightgbm(seen, params)
    predicted = {metric: predict(boosters[metric], held_out) for metric in METRICS}
    intervals = calibrate(held_out, predicted, params.intervals.min_labels)
    card = model_card(FACTS, seen, [])
    contract = write_bundle(directory, boosters, intervals, seen, FACTS | more, card)
    return seen, contract


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle: its directory, what it was fitted on, its contract."""
    directory = tmp_path_factory.mktemp("made") / "bundle"
    return directory, *written(directory)


def test_the_contract_is_read_back_as_it_was_written(made):
    directory, seen, contract = made
    assert bundle.read_contract(directory) == contract
    assert contract.columns == COLUMNS
    assert contract.dataset_digest == seen.digest()
    assert {"world", "seed"} <= FACTS.keys() <= contract.model_dump().keys()


def test_the_horizons_of_the_contract_are_those_that_were_calibrated(made):
    directory, _, contract = made
    tables = bundle.read_intervals(directory).tables
    for metric, stated in contract.metrics.items():
        assert stated.horizons == tables[metric]["all"].horizons
        assert len(stated.horizons) == 30


def test_a_bundle_replaces_one_that_learnt_less_but_not_its_equal(made, tmp_path):
    written(tmp_path / "little", labels=100)
    asked = grown(2_000, 3)
    better = compare(made[0], tmp_path / "little", asked, seed=0)
    assert better.promote, better.reason
    equal = compare(made[0], made[0], asked, seed=0)
    assert not equal.promote, equal.reason


def test_a_champion_is_not_judged_by_questions_from_before_it_had_learnt_all(made, tmp_path):
    """It may know the answers: the test of a record that grew backwards begins earlier."""
    asked = grown(2_000, 3)
    middle = asked.rows["event_timestamp"].iloc[999]
    written(tmp_path / "later", labels=100, trained_until=middle.isoformat())
    found = compare(made[0], tmp_path / "later", asked, seed=0)
    assert found.promote, found.reason
    assert "on the same 4,000 rows" in found.reason  # of 8,000
    written(tmp_path / "last", labels=100, trained_until="2026-01-16T00:00:00+00:00")
    found = compare(made[0], tmp_path / "last", asked, seed=0)
    assert not found.promote
    assert "asks nothing after 2026-01-16" in found.reason


@pytest.mark.parametrize("part", bundle.DIGESTED_FILES)
def test_a_part_that_was_changed_is_refused(made, part, tmp_path):
    directory = shutil.copytree(made[0], tmp_path / "copy")
    with (directory / part).open("ab") as file:
        file.write(b" ")
    with pytest.raises(bundle.BundleError, match=part):
        bundle.read_contract(directory)


def test_the_same_data_and_seed_give_the_same_bundle(made, tmp_path):
    _, contract = written(tmp_path / "again")
    assert bundle.bundle_digest(contract) == bundle.bundle_digest(made[2])


def test_other_data_give_another_bundle_digest(made):
    changed = made[1]._replace(features=made[1].features + np.float32(1))
    assert changed.digest() != made[1].digest()


def test_the_reference_holds_the_columns_of_the_model_as_fitted_on(made):
    directory, seen, _ = made
    reference = pq.read_table(directory / bundle.REFERENCE_FILE)
    assert reference.column_names == [column.name for column in COLUMNS]
    assert reference.num_rows == len(seen.features)
    read = np.column_stack([reference[name].to_numpy() for name in reference.column_names])
    np.testing.assert_array_equal(read, seen.features)


def test_fallback_curves_rise_and_do_not_cross_for_every_tier(made):
    directory, seen, _ = made
    curves = orjson.loads((directory / bundle.FALLBACK_FILE).read_bytes())
    assert curves.keys() == set(METRICS)
    for tiers in curves.values():
        assert tiers.keys() == {"all", *seen.tiers().tolist()}
        for curve in tiers.values():
            columns = np.array([curve[quantile] for quantile in QUANTILES])
            assert (np.diff(columns, axis=1) >= 0).all()
            assert (np.diff(columns, axis=0) >= 0).all()


def test_native_trees_and_a_card_are_there_for_people_and_explanations(made):
    directory, seen, _ = made
    native = directory / bundle.NATIVE_DIRECTORY
    assert {path.stem for path in native.iterdir()} == set(METRICS)
    assert f"{len(seen.labels):,} labels" in (directory / bundle.CARD_FILE).read_text()


def test_what_is_served_is_what_training_measured(made):
    directory, _, contract = made
    model = LoadedModel(directory, "1")
    values = stored_values(model)
    as_of = np.full(len(values), AS_OF)
    given = model.read(values, AS_OF)
    asked = asked_of(model, values, as_of)
    np.testing.assert_array_equal(asked.features, given.features)
    growth = predict_growth(directory / bundle.MODEL_FILE, asked.matrix(asked.labels))
    measured = with_intervals(asked, growth, bundle.read_intervals(directory), "lightgbm")
    served = model.predict(given, (7,))[:, :, 0]
    for at, metric in enumerate(contract.metrics):
        logs = np.log10(1.0 + served[:, at])
        known = ~np.isnan(measured.median[metric])
        np.testing.assert_array_equal(known, ~np.isnan(logs[:, 1]))
        np.testing.assert_allclose(logs[known, 1], measured.median[metric][known], atol=1e-9)
        np.testing.assert_allclose(
            logs[known][:, [0, 2]], measured.interval[metric][known], atol=1e-9
        )


def test_trees_by_the_scale_of_growth_are_walked_as_onnxruntime_runs_them_to_the_bit(made):
    model = LoadedModel(made[0], "1")
    features, days = made[1].features[:300], np.arange(1, 31)
    walked = model._growth(features, days)
    assert model.engine == "trees"
    session = OnnxSession(made[0], model.contract)
    np.testing.assert_array_equal(walked, session.evaluate(features, days))
    assert (walked >= 0).all()
    assert (np.diff(walked, axis=2) >= 0).all()
    native = lightgbm.Booster(model_file=made[0] / bundle.NATIVE_DIRECTORY / "views.txt")
    rows = np.column_stack([features, np.full(len(features), 7, np.float32)])
    np.testing.assert_allclose(walked[:, 0, 6], growth_by(native, rows), atol=1e-5)
    assert np.abs(walked[:, 0, 6] - native.predict(rows)).max() > 0.1


def test_a_graph_with_another_scale_is_left_to_onnxruntime(made, tmp_path):
    directory = shutil.copytree(made[0], tmp_path / "copy")
    graph = onnx.load(directory / bundle.MODEL_FILE)
    (day,) = (c for c in graph.graph.initializer if c.name == "hours_of_day")
    day.CopyFrom(onnx.numpy_helper.from_array(np.array([[24.001]]), day.name))
    onnx.save(graph, directory / bundle.MODEL_FILE)
    digests = made[2].digests | {
        bundle.MODEL_FILE: bundle.file_digest(directory / bundle.MODEL_FILE)
    }
    changed = made[2].model_copy(update={"digests": digests})
    (directory / bundle.CONTRACT_FILE).write_text(changed.model_dump_json())
    assert LoadedModel(directory, "1").engine == "onnxruntime"


@pytest.mark.parametrize("day", [1, 30])
def test_the_terms_of_an_explanation_add_up_to_growth_before_calibration(made, day):
    directory, model = made[0], LoadedModel(made[0], "1")
    values = stored_values(model)
    known = ~np.isnan(values).any(axis=1)
    given = model.read(values[known][:1], AS_OF)
    told = asyncio.run(Explainer().explain(model, directory, given, "views", day, 3))
    terms = {term["name"]: term["contribution_log10"] for term in told["terms"]}
    calibrated = terms.pop("post_processing")
    reached = np.log10(1.0 + given.counts[0, 0]) + model.growth_of(given, "views", day)
    assert sum(terms.values()) == pytest.approx(reached, abs=1e-5)
    assert sum(terms.values()) + calibrated == pytest.approx(told["log10_p50"], abs=1e-9)


def stored_values(model):
    """Draw what the online store holds of 500 videos; some of it null."""
    random = np.random.default_rng(6)
    values = random.normal(3.0, 1.0, (500, len(model.plan.numbers)))
    at = [name for _, name in model.plan.numbers].index
    values[:, at("published_at")] = AS_OF - 86_400 * random.uniform(5, 60, 500)
    values[:, at("observed_at")] = AS_OF - 3_600 * random.uniform(0, 90, 500)
    for count in ("view_count", "like_count", "comment_count"):
        values[:, at(count)] = random.integers(0, 10**6, 500)
    values[random.random(values.shape) < 0.05] = np.nan
    return values


def asked_of(model, values, as_of):
    """Put stored values, asked about seven days ahead, into the form of training."""
    stored = dict(zip((name for _, name in model.plan.numbers), values.T, strict=True))
    known = stored | published_request(stored, as_of)
    base = grown(len(values), 7)
    labels = base.labels.groupby("row").head(1).assign(horizon_days=7.0)
    counts = {"views": "view_count", "likes": "like_count", "comments": "comment_count"}
    return TrainingSet(
        features=np.column_stack([known[c.name] for c in COLUMNS]).astype(np.float32),
        columns=COLUMNS,
        rows=base.rows,
        labels=labels.reset_index(drop=True),
        present={metric: np.log10(1.0 + stored[name]) for metric, name in counts.items()},
    )
