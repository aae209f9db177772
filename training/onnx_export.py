"""LightGBM boosters -> one ONNX graph with an output per metric, free of pickles."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

from feature_repo.bundle import MODEL_INPUT
from feature_repo.targets import AGE_SCALE_COLUMNS, LEAST_AGE_HOURS, USUAL_AGE_HOURS
from training.errors import TrainingError
from training.estimators import growth_by

# Sums of a few hundred float32 leaves against native float64: decades of log10.
TOLERANCE = 1e-5
OPSET = 15
# The arguments of `feature_repo.targets.age_scale`, in their order.
_SCALED_BY = ("age", "waited", "days")


class ExportDiffers(TrainingError):
    """The exported graph does not answer as the native model does."""


def write_onnx(boosters: dict[str, lgb.Booster], path: Path) -> None:
    """Write one graph: input float32 (rows, columns), an output (rows, 1) per metric."""
    nodes: list[onnx.NodeProto] = []
    initializers: list[onnx.TensorProto] = []
    width = next(iter(boosters.values())).num_feature()
    columns = next(iter(boosters.values())).feature_name()
    is_scaled = set(AGE_SCALE_COLUMNS) <= set(columns)
    if is_scaled:
        nodes, initializers = _age_scale(columns)
    for metric, booster in boosters.items():
        graph = _converted(booster, width).graph
        answered = f"{metric}_by_scale" if is_scaled else metric
        nodes += [_renamed(node, metric, graph, answered) for node in graph.node]
        nodes += _times_scale(answered, metric) if is_scaled else []
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
        _largest_difference(exported[metric], growth_by(booster, matrix))
        for metric, booster in boosters.items()
    )
    if worst > TOLERANCE:
        raise ExportDiffers(f"ONNX differs from LightGBM by {worst:.2g} decades")
    return worst


def _largest_difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Give the largest difference; unknown is equal to unknown and far from all else."""
    if not np.array_equal(np.isnan(one), np.isnan(other)):
        return np.inf
    return float(np.max(np.nan_to_num(np.abs(one - other))))


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


def _age_scale(columns: list[str]) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Write `feature_repo.targets.age_scale` as nodes, in float64; gives them and constants.

    Every operation is one whose result IEEE 754 lays down, so that it is the same to the bit.
    """
    places = [*(columns.index(name) for name in AGE_SCALE_COLUMNS), len(columns) - 1]
    constants = [
        numpy_helper.from_array(np.array([place], np.int64), f"scale_place_{of}")
        for of, place in zip(_SCALED_BY, places, strict=True)
    ]
    constants += [
        numpy_helper.from_array(np.array([[value]], np.float64), name)
        for name, value in (
            ("usual_age", USUAL_AGE_HOURS), ("least_age", LEAST_AGE_HOURS), ("none", 0.0),
            ("one", 1.0), ("hours_of_day", 24.0),
        )
    ]  # fmt: skip
    nodes = []
    for of in _SCALED_BY:
        nodes += [
            helper.make_node("Gather", [MODEL_INPUT, f"scale_place_{of}"], [f"{of}_32"], axis=1),
            helper.make_node("Cast", [f"{of}_32"], [of], to=TensorProto.DOUBLE),
        ]
    steps = (
        ("IsNaN", "age", "age_unknown"), ("Where", "age_unknown usual_age age", "age_known"),
        ("Max", "age_known least_age", "age_floored"),
        ("IsNaN", "waited", "waited_unknown"),
        ("Where", "waited_unknown none waited", "waited_known"),
        ("Max", "waited_known none", "waited_floored"),
        ("Mul", "hours_of_day days", "hours"), ("Add", "waited_floored hours", "to_go"),
        ("Div", "to_go age_floored", "gained"), ("Add", "one gained", "ratio"),
        ("Sqrt", "ratio", "root_2"), ("Sqrt", "root_2", "root_4"), ("Sqrt", "root_4", "root_8"),
        ("Sub", "root_8 one", "stretch"), ("Sqrt", "stretch", "age_scale"),
    )  # fmt: skip
    nodes += [helper.make_node(kind, given.split(), [made]) for kind, given, made in steps]
    return nodes, constants


def _times_scale(answered: str, metric: str) -> list[onnx.NodeProto]:
    """Multiply an answer that is not below 0 by the scale; rounded to float32 once."""
    above, wide, product = (f"{metric}_{part}" for part in ("not_negative", "wide", "product"))
    return [
        helper.make_node("Relu", [answered], [above]),
        helper.make_node("Cast", [above], [wide], to=TensorProto.DOUBLE),
        helper.make_node("Mul", [wide, "age_scale"], [product]),
        helper.make_node("Cast", [product], [metric], to=TensorProto.FLOAT),
    ]


def _renamed(
    node: onnx.NodeProto, metric: str, graph: onnx.GraphProto, answered: str
) -> onnx.NodeProto:
    """Give the names of a node a prefix, but for the shared input and the metric's output."""
    output = graph.output[0].name

    def name(old: str) -> str:
        if old in ("", MODEL_INPUT):
            return old
        return answered if old == output else f"{metric}_{old}"

    node.name = f"{metric}_{node.name}"
    for names in (node.input, node.output):
        for position, old in enumerate(names):
            names[position] = name(old)
    return node
