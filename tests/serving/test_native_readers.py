"""What serving reads without onnx and without LightGBM's Python package, beside those."""

import lightgbm
import numpy as np
import onnx
import pytest

from feature_repo import bundle
from serving.lightgbm_native import NativeModel, NativeModelError
from serving.onnx_graph import UnreadableGraph, read_nodes
from tests.serving.bundles import COLUMNS, write_bundle


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("native")
    write_bundle(path, "synthetic", trees=20)
    return path


def test_a_graph_is_read_as_onnx_reads_it(directory):
    path = directory / bundle.MODEL_FILE
    expected, nodes = onnx.load(path).graph.node, read_nodes(path)
    assert len(nodes) == len(expected) > 0
    for node, theirs in zip(nodes, expected, strict=True):
        assert node.operation == theirs.op_type
        assert node.inputs == list(theirs.input)
        assert node.outputs == list(theirs.output)
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in theirs.attribute}
        assert node.attributes.keys() == attributes.keys()
        for name, value in attributes.items():
            given = node.attributes[name]
            assert (list(given) if isinstance(value, list) else given) == value


def test_what_is_no_graph_is_refused(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(UnreadableGraph, match=r"x\.onnx is not an ONNX model"):
        read_nodes(tmp_path / "x.onnx")


def test_contributions_are_lightgbms_own(directory):
    path = directory / bundle.NATIVE_DIRECTORY / "views.txt"
    booster, native = lightgbm.Booster(model_file=path), NativeModel(path)
    random = np.random.default_rng(5)
    rows = random.normal(size=(20, native.width))
    rows[random.random(rows.shape) < 0.2] = np.nan
    expected = booster.predict(rows, pred_contrib=True)
    assert native.width == len(COLUMNS) + 1
    for row, theirs in zip(rows, expected, strict=True):
        np.testing.assert_array_equal(native.contributions(row), theirs)


def test_a_model_that_lightgbm_cannot_read_is_refused_and_no_row_of_another_length_is_read(
    directory, tmp_path
):
    (tmp_path / "x.txt").write_text("no model")
    with pytest.raises(NativeModelError):
        NativeModel(tmp_path / "x.txt")
    native = NativeModel(directory / bundle.NATIVE_DIRECTORY / "views.txt")
    with pytest.raises(NativeModelError, match="inputs"):
        native.contributions(np.zeros(native.width - 1))
