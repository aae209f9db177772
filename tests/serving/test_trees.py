import numpy as np
import onnx
import pytest

from feature_repo import bundle
from serving.model import LoadedModel
from serving.onnx_session import OnnxSession
from serving.trees import Forest, OtherGraph
from tests.serving.bundles import COLUMNS, write_bundle

DAYS = np.array([1, 2, 7, 30])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("trees")
    write_bundle(path, "synthetic", trees=120)
    return path


@pytest.fixture(scope="module")
def model(directory):
    return LoadedModel(directory, "1")


@pytest.fixture(scope="module")
def session(directory, model):
    return OnnxSession(directory, model.contract)


def some_rows(number, seed=3):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(number, len(COLUMNS))).astype(np.float32)
    rows[random.random(rows.shape) < 0.15] = np.nan
    return rows


def test_walked_trees_answer_as_onnxruntime_to_the_bit(model, session):
    rows = some_rows(500)
    assert model.engine == "trees"
    np.testing.assert_array_equal(model._forest.evaluate(rows, DAYS), session.evaluate(rows, DAYS))


def test_a_value_on_a_threshold_goes_where_onnxruntime_sends_it(model, session):
    probes = model._forest.probes(400, seed=5)
    np.testing.assert_array_equal(
        model._forest.evaluate(probes, DAYS), session.evaluate(probes, DAYS)
    )


@pytest.mark.parametrize("number", [1, 2, 5, 6, 21, 22, 33, 64, 130])
@pytest.mark.parametrize("days", [[7], [1, 7, 30], list(range(1, 31))])
def test_rows_answer_the_same_alone_and_in_any_company(model, number, days):
    days = np.array(days)
    probes = model._forest.probes(number, seed=number)
    alone = np.concatenate([model._forest.evaluate(row[np.newaxis], days) for row in probes])
    np.testing.assert_array_equal(model._forest.evaluate(probes, days), alone)


def test_a_later_horizon_walks_on_as_if_asked_alone(model):
    rows, days = some_rows(50), np.arange(1, 31)
    together = model._forest.evaluate(rows, days)
    for at, day in enumerate(days):
        alone = model._forest.evaluate(rows, np.array([day]))
        np.testing.assert_array_equal(alone[:, :, 0], together[:, :, at])


def with_a_base(graph):
    graph.node[0].attribute.append(onnx.helper.make_attribute("base_values", [1.0]))


def with_a_node_without_inputs(graph):
    graph.node.insert(0, onnx.helper.make_node("Constant", [], ["unused"], value_float=1.0))


@pytest.mark.parametrize("change", [with_a_base, with_a_node_without_inputs])
def test_a_graph_that_is_no_plain_trees_is_left_to_onnxruntime(tmp_path, change):
    contract = write_bundle(tmp_path, "synthetic", trees=3)
    path = tmp_path / bundle.MODEL_FILE
    graph = onnx.load(path)
    change(graph.graph)
    onnx.save(graph, path)
    outputs = [metric.output for metric in contract.metrics.values()]
    with pytest.raises(OtherGraph):
        Forest(path, outputs, [column.name for column in COLUMNS])
    digests = contract.digests | {bundle.MODEL_FILE: bundle.file_digest(path)}
    changed = contract.model_copy(update={"digests": digests})
    (tmp_path / bundle.CONTRACT_FILE).write_text(changed.model_dump_json())
    assert LoadedModel(tmp_path, "1").engine == "onnxruntime"
