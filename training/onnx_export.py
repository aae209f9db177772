"""LightGBM boosters -> one ONNX graph with an output per metric, free of pickles."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from feature_repo.bundle import MODEL_INPUT
from training.errors import TrainingError

# Sums of a few hundred float32 leaves against native float64: decades of log10.
TOLERANCE = 1e-5
OPSET = 15


class ExportDiffers(TrainingError):
    """The exported graph does not answer as the native model does."""


def write_onnx(boosters: dict[str, lgb.Booster], path: Path) -> None:
    """Write one graph: input float32 (rows, columns), an output (rows, 1) per metric."""
    nodes, initializers = [], []
    width = next(iter(boosters.values())).num_feature()
    for metric, booster in boosters.items():
        graph = _converted(booster, width).graph
        nodes += [_renamed(node, metric, graph) for node in graph.node]
        for constant in graph.initializer:
            constant.name = f"{metric}_{constant.name}"
            initializers.append(constant)
    features = helper.make_tensor_value_info(MODEL_INPUT, TensorProto.FLOAT, [None, width])
    outputs = [helper.make_tensor_value_info(m, TensorProto.FLOAT, [None, 1]) for m in boosters]
    graph = helper.make_graph(nodes, "foreview", [features], outputs, initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="foreview")
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def predict_growth(path: Path, matrix: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Evaluate an exported graph: log growth per metric."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metrics = [output.name for output in session.get_outputs()]
    answers = session.run(metrics, {MODEL_INPUT: matrix})
    return {m: np.asarray(a, np.float64)[:, 0] for m, a in zip(metrics, answers, strict=True)}


def check_equal(boosters: dict[str, lgb.Booster], path: Path, matrix: NDArray[np.float32]) -> float:
    """Give the largest difference between native and exported predictions.

    Raises:
        ExportDiffers: It is above the tolerance.
    """
    exported = predict_growth(path, matrix)
    worst = max(
        float(np.max(np.abs(exported[metric] - np.asarray(booster.predict(matrix)))))
        for metric, booster in boosters.items()
    )
    if worst > TOLERANCE:
        raise ExportDiffers(f"ONNX differs from LightGBM by {worst:.2g} decades")
    return worst


def _converted(booster: lgb.Booster, width: int) -> onnx.ModelProto:
    inputs = [(MODEL_INPUT, FloatTensorType([None, width]))]
    model = convert_lightgbm(booster, initial_types=inputs, target_opset=OPSET)
    _round_thresholds_down(model, booster)
    return model


def _round_thresholds_down(model: onnx.ModelProto, booster: lgb.Booster) -> None:
    """Make thresholds the largest float32 not above LightGBM's float64.

    A threshold between two neighbouring float32 rounds to one of them: rounded up, it would send
    that value down the other branch. One beyond float32, as LightGBM sets to part nulls from all
    else, becomes its largest number.
    """
    trees = booster.dump_model()["tree_info"]
    exact = np.array([value for tree in trees for value in _thresholds(tree["tree_structure"])])
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    (values,) = (a for node in model.graph.node for a in node.attribute if a.name == "nodes_values")
    if not np.array_equal(nearest, np.array(values.floats, dtype=np.float32)):
        raise ExportDiffers("the exported graph holds other thresholds than LightGBM's trees")
    below = np.nextafter(nearest, np.float32(-np.inf))
    values.floats[:] = np.where(nearest > exact, below, nearest).tolist()


def _thresholds(root: dict[str, Any]) -> list[float]:
    """Give the thresholds of a tree in the order of its exported nodes; a leaf has 0."""

    def below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        children = [node[side] for side in ("left_child", "right_child") if side in node]
        yield from children
        for child in children:
            yield from below(child)

    return [node.get("threshold", 0.0) for node in (root, *below(root))]


def _renamed(node: onnx.NodeProto, metric: str, graph: onnx.GraphProto) -> onnx.NodeProto:
    """Give the names of a node a prefix, but for the shared input and the metric's output."""
    output = graph.output[0].name

    def name(old: str) -> str:
        if old in ("", MODEL_INPUT):
            return old
        return metric if old == output else f"{metric}_{old}"

    node.name = f"{metric}_{node.name}"
    for names in (node.input, node.output):
        for position, old in enumerate(names):
            names[position] = name(old)
    return node
