import numpy as np
import onnx
import pytest

from feature_repo.bundle import file_digest
from tests.training.records import training_set
from tests.training.sets import few_trees, grown
from training.dataset import names
from training.errors import InvalidParameters
from training.estimators import fit_lightgbm, fit_one, predict, scale_of
from training.onnx_export import ExportDiffers, check_equal, write_onnx
from training.params import read_params
from training.settings import TrainingSettings

N = 3_000


@pytest.fixture(scope="module")
def params():
    stated = read_params(TrainingSettings.model_fields["params"].default)
    trees = stated.lightgbm | {"n_estimators": 20, "num_leaves": 15, "num_threads": 2}
    return stated.model_copy(update={"lightgbm": trees})


@pytest.fixture(scope="module")
def seen():
    random = np.random.default_rng(3)
    ages = random.exponential(100, N)
    ages[:50] = np.nan
    days = random.uniform(0.3, 30, N)
    pace = random.normal(size=N).round(2)
    growth = days**0.5 / (1 + ages / 50) + 0.1 * pace * days + random.normal(0, 0.05, N)
    return training_set(ages.tolist(), days.tolist(), growth.tolist(), pace=pace.tolist())


@pytest.fixture(scope="module")
def boosters(seen, params):
    return fit_lightgbm(seen, params)


def test_predicted_growth_never_falls_with_the_horizon(boosters, seen):
    days = np.linspace(0.25, 30, 60, dtype=np.float32)
    for question in seen.features[:40]:
        crossed = np.column_stack([np.tile(question, (60, 1)), days])
        assert (np.diff(boosters["views"].predict(crossed)) >= 0).all()


def test_growth_that_goes_by_a_power_of_age_is_learnt_better_by_the_scale_of_age(monkeypatch):
    random = np.random.default_rng(4)

    def law(n, seed):
        drawn = grown(n, seed)
        age, waited = 10 ** random.uniform(0.3, 3, n), random.uniform(0, 24, n)
        drawn.features[:, 4], drawn.features[:, 5] = age, waited
        row, days = drawn.labels["row"].to_numpy(), drawn.labels["horizon_days"].to_numpy()
        growth = 0.7 * np.log10(1 + (waited[row] + 24 * days) / age[row])
        noise = random.normal(0, 0.05 * growth)
        return drawn._replace(labels=drawn.labels.assign(views=growth + noise)), growth

    (fitted_on, _), (asked, growth) = law(1_000, 5), law(1_000, 6)

    def error():
        booster = fit_one(fitted_on, "views", few_trees())
        return np.sqrt(np.mean((predict(booster, asked) - growth) ** 2))

    by_scale = error()
    monkeypatch.setattr("training.estimators.scale_of", lambda columns, matrix: None)
    assert by_scale < 0.7 * error()


def test_errors_weigh_by_what_growth_usually_is_at_their_horizon():
    drawn = grown(50, 7)
    days = drawn.labels["horizon_days"].to_numpy()
    growth = np.where(days <= 3, 0.1, 0.9)
    stump = {"num_leaves": 2, "min_child_samples": 1_000, "n_estimators": 1}
    fitted_on = drawn._replace(labels=drawn.labels.assign(views=growth))
    params = few_trees().model_copy(update={"growth_power": 0.7})
    predicted = predict(fit_one(fitted_on, "views", params, stump), fitted_on)
    matrix = fitted_on.matrix(fitted_on.labels)
    scale = scale_of(names(fitted_on.columns), matrix)
    # One leaf: the mean of growth by scale that makes the weighed squared error of growth least.
    weight = days**-0.7
    least = np.sum(weight * scale * growth) / np.sum(weight * scale**2)
    assert predicted / scale == pytest.approx(np.full(len(days), least), rel=1e-5)


def test_the_exported_graph_answers_as_the_native_model_does(boosters, seen, tmp_path):
    write_onnx(boosters, tmp_path / "model.onnx")
    matrix = seen.matrix(seen.labels)
    unknown = np.full((1, matrix.shape[1]), np.nan, dtype=np.float32)
    assert check_equal(boosters, tmp_path / "model.onnx", np.vstack([matrix, unknown])) <= 1e-5


def test_a_graph_that_answers_otherwise_is_refused(boosters, seen, tmp_path):
    path = tmp_path / "model.onnx"
    write_onnx(boosters, path)
    model = onnx.load(path)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "target_weights":
                attribute.floats[0] += 0.1
    onnx.save(model, path)
    with pytest.raises(ExportDiffers):
        check_equal(boosters, path, seen.matrix(seen.labels))


def test_two_fits_on_the_same_data_give_the_same_file(boosters, seen, params, tmp_path):
    write_onnx(boosters, tmp_path / "first.onnx")
    write_onnx(fit_lightgbm(seen, params), tmp_path / "second.onnx")
    assert file_digest(tmp_path / "first.onnx") == file_digest(tmp_path / "second.onnx")


def test_trees_may_have_smaller_leaves_than_the_librarys(seen, params):
    small = params.lightgbm | {"min_child_samples": 5, "num_leaves": 63}
    booster = fit_one(seen, "views", params.model_copy(update={"lightgbm": small}))
    assert booster.trees_to_dataframe()["count"].min() < 20


def test_trees_that_cannot_be_are_refused_as_wrong_parameters(seen, params):
    wrong = params.model_copy(update={"lightgbm": params.lightgbm | {"num_leaves": 1}})
    with pytest.raises(InvalidParameters, match="num_leaves"):
        fit_one(seen, "views", wrong)
