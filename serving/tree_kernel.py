"""Walks decision trees, compiled: see `serving.compiling`.

A node is one 32-bit number, so that a whole model fits a core's cache: its left child, relative to
the tree's root (12 bits; the right child follows it), the input it reads (9 bits) and the number
of its threshold among those of that input (11 bits). A leaf is its own left child and never goes
right. Many trees are walked in step: their loads overlap, and no branch has to be guessed.
"""

import numpy as np
from numpy.typing import NDArray

from feature_repo.targets import age_scale
from serving.compiling import compiled

LANES = 16
LEFT_SHIFT, GIVEN_SHIFT = 20, 11
GIVEN_MASK = (1 << (LEFT_SHIFT - GIVEN_SHIFT)) - 1
THRESHOLD_MASK = (1 << GIVEN_SHIFT) - 1
MAX_INPUTS = GIVEN_MASK // 2
MAX_TREE_NODES = 1 << (32 - LEFT_SHIFT)
MAX_THRESHOLDS = THRESHOLD_MASK
LEAF_THRESHOLD = THRESHOLD_MASK
NULL_RIGHT = THRESHOLD_MASK + 1  # above every threshold
NULL = 65535  # stands for a place where a value is null
_STEPS_BETWEEN_LOOKS = 3

_U16 = NDArray[np.uint16]
_U32 = NDArray[np.uint32]

_WALK = (
    "void(int32[::1],int64,uint32[::1],uint32[::1],uint32[::1],int64,int64,uint32[::1],uint32[::1])"
)
_PLACE = "void(float32[:,::1],float32[::1],int64[::1],uint16[:,::1])"
_EVALUATE = (
    "void(uint16[:,::1],float32[::1],uint32[::1],float32[::1],uint32[::1],int64[::1],"
    "float32[::1],float32[:,:,::1])"
)
_TIMES_SCALE = "void(float32[:,::1],int64[::1],int64,int64,float32[:,:,::1])"


@compiled(_WALK)
def _walk(
    todo: NDArray[np.int32], count: int, nodes: _U32, roots: _U32, levels: _U32,
    horizon: int, horizon_too: int, leaf_of: _U32, holds_to: _U32,
) -> None:  # fmt: skip
    """Find the leaf of each tree in `todo`, and up to which horizon it stays that leaf."""
    at = np.empty(LANES, np.uint32)
    before = np.empty(LANES, np.uint32)
    base = np.empty(LANES, np.uint32)
    bound = np.empty(LANES, np.uint32)
    first, second = np.uint32(horizon), np.uint32(horizon_too)
    never = np.uint32(LEAF_THRESHOLD)
    for group in range(0, count, LANES):
        for lane in range(LANES):
            base[lane] = roots[todo[min(group + lane, count - 1)]]
            at[lane], bound[lane] = 0, LEAF_THRESHOLD
        moving = True
        while moving:
            for _ in range(_STEPS_BETWEEN_LOOKS):
                for lane in range(LANES):
                    node = nodes[base[lane] + at[lane]]
                    given = (node >> np.uint32(GIVEN_SHIFT)) & np.uint32(GIVEN_MASK)
                    threshold = node & np.uint32(THRESHOLD_MASK)
                    is_right = levels[given] > threshold
                    is_bound = ((given == first) | (given == second)) & (not is_right)
                    bound[lane] = min(bound[lane], threshold if is_bound else never)
                    before[lane] = at[lane]
                    at[lane] = (node >> np.uint32(LEFT_SHIFT)) + np.uint32(is_right)
            moving = False
            for lane in range(LANES):
                moving |= at[lane] != before[lane]
        for lane in range(min(LANES, count - group)):
            tree = todo[group + lane]
            leaf_of[tree], holds_to[tree] = base[lane] + at[lane], bound[lane]


@compiled(_PLACE)
def place(
    rows: NDArray[np.float32], cuts: NDArray[np.float32], cut_bounds: NDArray[np.int64], out: _U16
) -> None:
    """Count the thresholds of its input below each value: all that trees see of it.

    Args:
        rows: Inputs without the horizon, shape (n, inputs - 1); NaN where null.
        cuts: Ascending thresholds of each input, one after the other.
        cut_bounds: Where each input's begin, and the end.
        out: Filled in, shape (n, inputs - 1); NULL where null.
    """
    for row in range(rows.shape[0]):
        for given in range(rows.shape[1]):
            value = rows[row, given]
            if value != value:  # NaN
                out[row, given] = NULL
                continue
            low, high = cut_bounds[given], cut_bounds[given + 1]
            while low < high:
                middle = (low + high) >> 1
                if cuts[middle] < value:
                    low = middle + 1
                else:
                    high = middle
            out[row, given] = low - cut_bounds[given]


@compiled(_EVALUATE)
def evaluate(
    places: _U16, horizons: NDArray[np.float32], nodes: _U32, leaves: NDArray[np.float32],
    roots: _U32, bounds: NDArray[np.int64], horizon_cuts: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Sum the leaves of each ensemble for rows crossed with horizons.

    A tree is walked again for a later horizon only where its leaf would change. Sums are float32
    in the order of the trees, as onnxruntime's are.

    Args:
        places: Of inputs without the horizon, shape (n, inputs - 1), as `place` gives them.
        horizons: Ascending, shape (h,).
        nodes: Packed nodes of all trees.
        leaves: The value of each node that is a leaf.
        roots: Where each tree begins.
        bounds: Where each ensemble's trees begin, and the end.
        horizon_cuts: Ascending thresholds of the horizon, which is the last input.
        out: Filled in, shape (n, ensembles, h).
    """
    horizon = places.shape[1]
    inputs = horizon + 1
    trees = roots.shape[0]
    # Each input twice: a node chooses whether a null goes right (first) or left (second).
    levels = np.zeros(2 * inputs + 1, np.uint32)
    leaf_of = np.empty(trees, np.uint32)
    holds_to = np.empty(trees, np.uint32)
    todo = np.empty(trees, np.int32)
    for row in range(places.shape[0]):
        for given in range(horizon):
            level = np.uint32(places[row, given])
            is_null = level == NULL
            levels[given] = NULL_RIGHT if is_null else level
            levels[given + inputs] = 0 if is_null else level
        for step in range(horizons.shape[0]):
            at = 0
            while at < horizon_cuts.shape[0] and horizon_cuts[at] < horizons[step]:
                at += 1
            level = np.uint32(at)
            levels[horizon], levels[horizon + inputs] = level, level
            count = 0
            for tree in range(trees):
                if step == 0 or level > holds_to[tree]:
                    todo[count] = tree
                    count += 1
            _walk(
                todo, count, nodes, roots, levels, horizon, horizon + inputs, leaf_of, holds_to
            )  # fmt: skip
            for ensemble in range(bounds.shape[0] - 1):
                total = np.float32(0.0)
                for tree in range(bounds[ensemble], bounds[ensemble + 1]):
                    total += leaves[leaf_of[tree]]
                out[row, ensemble, step] = total


@compiled(_TIMES_SCALE, shared=(age_scale,))
def times_scale(
    rows: NDArray[np.float32], days: NDArray[np.int64], age: int, waited: int,
    out: NDArray[np.float32],
) -> None:  # fmt: skip
    """Turn what trees answer by the scale of growth into growth; rounded to float32 once.

    Args:
        rows: Inputs without the horizon, shape (n, inputs - 1); NaN where null.
        days: Horizons, shape (h,).
        age: Which input is the age at observation, hours.
        waited: Which is the time since, hours.
        out: Changed in place, shape (n, ensembles, h).
    """
    for row in range(rows.shape[0]):
        age_hours, waited_hours = np.float64(rows[row, age]), np.float64(rows[row, waited])
        for step in range(days.shape[0]):
            scale = age_scale(age_hours, waited_hours, np.float64(days[step]))
            for ensemble in range(out.shape[1]):
                answered = max(out[row, ensemble, step], np.float32(0.0))
                out[row, ensemble, step] = np.float32(np.float64(answered) * scale)
