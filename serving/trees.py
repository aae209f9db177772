"""A bundle's ONNX trees, laid out for fast walking; the graph stays what they are checked by."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feature_repo.targets import AGE_SCALE_COLUMNS
from serving import tree_kernel as kernel
from serving import tree_masks as masks
from serving.onnx_graph import Node, UnreadableGraph, read_nodes

FloatArray = NDArray[np.float64]
Places = NDArray[np.uint16]
Walk = Callable[[Places, NDArray[np.int_]], NDArray[np.float32]]

# How training writes `feature_repo.targets.age_scale`, and the product with it.
_AGE_SCALE = (
    "Gather", "Cast", "Gather", "Cast", "Gather", "Cast", "IsNaN", "Where", "Max", "IsNaN", "Where",
    "Max", "Mul", "Add", "Div", "Add", "Sqrt", "Sqrt", "Sqrt", "Sub", "Sqrt",
)  # fmt: skip
_TIMES_SCALE = ("Relu", "Cast", "Mul", "Cast")


class OtherGraph(Exception):
    """A graph is not one of plain regression trees, or too large for the layout."""


class _Ensemble(NamedTuple):
    """Nodes of an ensemble: children adjacent, relative to nothing; -1 for a leaf."""

    given: NDArray[np.int64]
    nulls_left: NDArray[np.bool_]
    value: NDArray[np.float32]
    left: NDArray[np.int64]
    roots: NDArray[np.int64]


class Forest:
    """The ensembles of a model, one per output."""

    def __init__(self, path: Path, outputs: Sequence[str], columns: Sequence[str]) -> None:
        """Lay out the trees of a graph.

        Args:
            path: The ONNX file.
            outputs: Its outputs, in the order wanted.
            columns: Its inputs but for the last, the horizon.

        Raises:
            OtherGraph: The graph holds something else than regression trees and the age's scale.
        """
        try:
            nodes = read_nodes(path)
        except UnreadableGraph as error:
            raise OtherGraph(str(error)) from error
        by_output, inputs = _ensembles(nodes), len(columns) + 1
        if not set(outputs) <= by_output.keys() or inputs > kernel.MAX_INPUTS:
            raise OtherGraph(f"{path} is not a tree ensemble per output")
        joined = _joined([by_output[output] for output in outputs])
        self.scaled_by = _scaled_by(nodes, outputs, columns)
        self._width = inputs - 1
        self._bounds = np.cumsum([0, *(len(by_output[output].roots) for output in outputs)])
        self._roots = joined.roots.astype(np.uint32)
        self._cuts, self._cut_bounds = _cuts(joined, inputs)
        self._horizon_cuts = self._cuts[self._cut_bounds[-2] :]
        self._nodes = _packed(joined, self._cuts, self._cut_bounds)
        self._leaves = np.where(joined.left < 0, joined.value, np.float32(0.0)).astype(np.float32)
        self._split_layout = _splits(joined, self._cut_bounds, self._nodes)

    def evaluate(
        self, features: NDArray[np.float32], days: NDArray[np.int_], walk: Walk | None = None
    ) -> NDArray[np.float32]:
        """Give each output of each row at each horizon, shape (rows, outputs, horizons).

        Args:
            features: float32, shape (rows, inputs - 1); NaN where null.
            days: Ascending horizons.
            walk: Gives the sums of leaves in place of walking for all rows.
        """
        rows = np.ascontiguousarray(features)
        sums = (walk or self.walk)(self.places(rows), days)
        if self.scaled_by is not None:
            kernel.times_scale(rows, days, *self.scaled_by, sums)
        return sums

    def places(self, features: NDArray[np.float32]) -> Places:
        """Give all that the trees see of features: which thresholds each lies between."""
        places = np.empty(features.shape, np.uint16)
        kernel.place(features, self._cuts, self._cut_bounds, places)
        return places

    def walk(self, places: Places, days: NDArray[np.int_]) -> NDArray[np.float32]:
        """Sum the leaves that rows reach, shape (rows, outputs, horizons)."""
        sums = np.empty((len(places), len(self._bounds) - 1, len(days)), dtype=np.float32)
        horizons, together = days.astype(np.float32), _rows_together(len(places), len(days))
        if together:
            masks.evaluate(
                places[:together], horizons, *self._split_layout, self._bounds, self._cuts,
                self._cut_bounds, sums[:together],
            )  # fmt: skip
        if together < len(places):
            kernel.evaluate(
                places[together:], horizons, self._nodes, self._leaves, self._roots, self._bounds,
                self._horizon_cuts, sums[together:],
            )  # fmt: skip
        return sums

    def probes(self, rows: int, seed: int = 0) -> NDArray[np.float32]:
        """Give rows that try the trees hard: thresholds, values around them, and nulls."""
        chance = np.random.default_rng(seed)
        probes = np.zeros((rows, self._width), dtype=np.float32)
        for given in range(self._width):
            cuts = self._cuts[self._cut_bounds[given] : self._cut_bounds[given + 1]]
            if len(cuts):
                with np.errstate(over="ignore"):  # above the largest number is infinity
                    above = np.nextafter(cuts, np.float32(np.inf))
                probes[:, given] = chance.choice(np.concatenate([cuts, above, cuts[:1] - 1]), rows)
        probes[chance.random(probes.shape) < 0.1] = np.nan
        return probes


def _rows_together(rows: int, horizons: int) -> int:
    """Tell how many rows are best sent through the trees together; the rest walk alone."""
    rest = rows % (masks.LANES // horizons)
    return rows if rest * horizons >= masks.LEAST_LANES else rows - rest


def _ensembles(nodes: Sequence[Node]) -> dict[str, _Ensemble]:
    """Find the ensemble behind each output; what is made of one alone passes it on."""
    found: dict[str, _Ensemble] = {}
    for node in nodes:
        if node.operation == "TreeEnsembleRegressor":
            found[node.outputs[0]] = _ensemble(node.attributes)
        elif node.operation in ("Identity", *_TIMES_SCALE) and node.inputs[0] in found:
            found[node.outputs[0]] = found[node.inputs[0]]
        elif node.operation not in _AGE_SCALE:
            raise OtherGraph(f"the graph holds a {node.operation}")
    return found


def _scaled_by(
    nodes: Sequence[Node], outputs: Sequence[str], columns: Sequence[str]
) -> tuple[int, int] | None:
    """Give the places of the columns that the scale of growth is worked out from; None without it.

    Only the kinds of operations are looked at: that they answer alike is tried out when loaded.
    """
    of_trees = ("TreeEnsembleRegressor", "Identity")
    others = [node.operation for node in nodes if node.operation not in of_trees]
    if not others:
        return None
    expected = [*_AGE_SCALE, *_TIMES_SCALE * len(outputs)]
    if others != expected or not set(AGE_SCALE_COLUMNS) <= set(columns):
        raise OtherGraph("the graph holds other operations than trees and the scale of growth")
    age, waited = (columns.index(name) for name in AGE_SCALE_COLUMNS)
    return age, waited


def _ensemble(attributes: Mapping[str, Any]) -> _Ensemble:
    modes = np.array(attributes["nodes_modes"])
    is_leaf = modes == b"LEAF"
    plain = attributes.get("n_targets", 1) == 1 and not attributes.get("base_values")
    plain &= attributes.get("aggregate_function", b"SUM") == b"SUM"
    plain &= attributes.get("post_transform", b"NONE") == b"NONE"
    if not plain or not (is_leaf | (modes == b"BRANCH_LEQ")).all():
        raise OtherGraph("the trees are not summed regression trees of <= splits")
    tree, node = np.array(attributes["nodes_treeids"]), np.array(attributes["nodes_nodeids"])
    key = tree * (int(node.max()) + 1) + node
    order = np.argsort(key)

    def position(of_tree: Any, nodes: Any) -> NDArray[np.int64]:
        wanted = np.asarray(of_tree) * (int(node.max()) + 1) + np.asarray(nodes)
        return order[np.searchsorted(key, wanted, sorter=order)]

    value = np.array(attributes["nodes_values"], dtype=np.float32)
    value[position(attributes["target_treeids"], attributes["target_nodeids"])] = attributes[
        "target_weights"
    ]
    nulls_left = attributes.get("nodes_missing_value_tracks_true") or np.zeros(len(tree))
    return _adjacent(
        _Ensemble(
            np.array(attributes["nodes_featureids"]),
            np.array(nulls_left, dtype=np.bool_),
            value,
            np.where(is_leaf, -1, position(tree, attributes["nodes_truenodeids"])),
            position(np.unique(tree), 0),
        ),
        position(tree, attributes["nodes_falsenodeids"]),
    )


def _adjacent(given: _Ensemble, right: NDArray[np.int64]) -> _Ensemble:
    """Renumber nodes so that each tree is together and a right child follows its left sibling."""
    level, tree = given.roots, np.arange(len(given.roots))
    levels, trees = [], []
    while len(level):  # all trees at once, each level in the order of its parents
        levels.append(level)
        trees.append(tree)
        is_split = given.left[level] >= 0
        parents = level[is_split]
        level = np.column_stack([given.left[parents], right[parents]]).ravel()
        tree = np.repeat(tree[is_split], 2)
    of_tree = np.concatenate(trees)
    order = np.argsort(of_tree, kind="stable")
    chosen = np.concatenate(levels)[order]
    now_at = np.empty(len(given.left), np.int64)
    now_at[chosen] = np.arange(len(chosen))
    left = given.left[chosen]
    return _Ensemble(
        given.given[chosen], given.nulls_left[chosen], given.value[chosen],
        np.where(left >= 0, now_at[left], -1),
        np.searchsorted(of_tree[order], np.arange(len(given.roots))),
    )  # fmt: skip


def _joined(ensembles: Sequence[_Ensemble]) -> _Ensemble:
    starts = np.cumsum([0, *(len(ensemble.left) for ensemble in ensembles)])[:-1]
    pairs = list(zip(ensembles, starts.tolist(), strict=True))
    return _Ensemble(
        np.concatenate([e.given for e in ensembles]),
        np.concatenate([e.nulls_left for e in ensembles]),
        np.concatenate([e.value for e in ensembles]),
        np.concatenate([np.where(e.left < 0, -1, e.left + start) for e, start in pairs]),
        np.concatenate([e.roots + start for e, start in pairs]),
    )


def _cuts(trees: _Ensemble, inputs: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Give the distinct thresholds of each input, ascending, and where each input's begin."""
    is_split = trees.left >= 0
    by_input = [np.unique(trees.value[is_split & (trees.given == at)]) for at in range(inputs)]
    if max(map(len, by_input)) > kernel.MAX_THRESHOLDS:
        raise OtherGraph("an input is split at more thresholds than the layout holds")
    return np.concatenate(by_input), np.cumsum([0, *map(len, by_input)])


def _packed(
    trees: _Ensemble, cuts: NDArray[np.float32], cut_bounds: NDArray[np.int64]
) -> NDArray[np.uint32]:
    inputs, nodes = len(cut_bounds) - 1, len(trees.left)
    sizes = np.diff(np.append(trees.roots, nodes))
    if sizes.max() > kernel.MAX_TREE_NODES:
        raise OtherGraph("a tree has more nodes than the layout holds")
    is_split = trees.left >= 0
    left = np.where(is_split, trees.left, np.arange(nodes)) - np.repeat(trees.roots, sizes)
    given = np.where(is_split, trees.given + inputs * trees.nulls_left, 2 * inputs)
    threshold = np.full(nodes, kernel.LEAF_THRESHOLD)
    for at in range(inputs):
        chosen = is_split & (trees.given == at)
        own = cuts[cut_bounds[at] : cut_bounds[at + 1]]
        threshold[chosen] = np.searchsorted(own, trees.value[chosen])
    packed = (left << kernel.LEFT_SHIFT) | (given << kernel.GIVEN_SHIFT) | threshold
    return packed.astype(np.uint32)


def _splits(
    trees: _Ensemble, cut_bounds: NDArray[np.int64], nodes: NDArray[np.uint32]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Lay the trees out for sets of lanes: splits, where each tree's begin; leaves, likewise."""
    is_split = trees.left >= 0
    ends = np.append(trees.roots, len(nodes))
    splits_before = np.concatenate([[0], np.cumsum(is_split)])
    split_bounds = splits_before[ends]
    tree = np.repeat(np.arange(len(trees.roots)), np.diff(ends))
    inner = np.diff(split_bounds)[tree]
    leaves_before = np.arange(len(nodes)) - splits_before[:-1] - (ends - split_bounds)[tree]
    number = np.where(is_split, splits_before[:-1] - split_bounds[tree], inner + leaves_before)
    given = (nodes[is_split] >> kernel.GIVEN_SHIFT) & kernel.GIVEN_MASK
    cut = cut_bounds[trees.given[is_split]] + (nodes[is_split] & kernel.THRESHOLD_MASK)
    left = trees.left[is_split]
    packed = np.zeros(len(left), dtype=np.uint64)
    for part, shift in (
        (cut, masks.CUT_SHIFT), (given, masks.GIVEN_SHIFT), (number[left], masks.LEFT_SHIFT),
        (number[left + 1], 0),
    ):  # fmt: skip
        packed |= part.astype(np.uint64) << np.uint64(shift)
    return packed, split_bounds, trees.value[~is_split].astype(np.float32), ends - split_bounds
