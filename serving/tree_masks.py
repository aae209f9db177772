"""Sends many rows through a tree at once, as sets of bits; compiled: see `serving.compiling`.

A lane is a row at a horizon; 64 of them make one 64-bit set. For each threshold of each input the
set of lanes beyond it is worked out once. A tree is then passed from its root, without a branch:
a node's set is split between its children, and each leaf's value goes to the lanes of its set.
What a tree costs does not depend on how many lanes there are, so it pays from a few rows on.
"""

import numpy as np
from numpy.typing import NDArray

from serving.compiling import compiled, trailing_zeros
from serving.tree_kernel import NULL

LANES = 64
LEAST_LANES = 18  # for fewer, walking each row costs less
# A split: its threshold among all cuts, whether nulls go right (its input) or left, its children.
CUT_SHIFT, GIVEN_SHIFT, LEFT_SHIFT = 33, 24, 12
GIVEN_MASK, CHILD_MASK = (1 << (CUT_SHIFT - GIVEN_SHIFT)) - 1, (1 << LEFT_SHIFT) - 1

_U16 = NDArray[np.uint16]
_U64 = NDArray[np.uint64]
_I64 = NDArray[np.int64]
_F32 = NDArray[np.float32]

_FILL = (
    "void(uint16[:,::1],int64,int64,float32[::1],float32[::1],int64[::1],uint64[::1],uint64[::1])"
)
_EVALUATE = (
    "void(uint16[:,::1],float32[::1],uint64[::1],int64[::1],float32[::1],int64[::1],int64[::1],"
    "float32[::1],int64[::1],float32[:,:,::1])"
)


@compiled(_FILL)
def _fill(
    places: _U16, first: int, count: int, horizons: _F32, cuts: _F32, cut_bounds: _I64,
    beyond: _U64, nulls: _U64,
) -> None:  # fmt: skip
    """Work out which lanes lie beyond each threshold, and for which an input is null."""
    one, none = np.uint64(1), np.uint64(0)
    steps, horizon = horizons.shape[0], cut_bounds.shape[0] - 2
    whole_row = (one << np.uint64(steps)) - one
    beyond[:] = none
    for given in range(horizon):
        start, end = cut_bounds[given], cut_bounds[given + 1]
        nulls[given] = none
        for row in range(count):
            lanes = whole_row << np.uint64(row * steps)
            below = np.int64(places[first + row, given])
            if below == NULL:
                nulls[given] |= lanes
            elif below > 0:
                beyond[start + below - 1] |= lanes
        for cut in range(end - 2, start - 1, -1):
            beyond[cut] |= beyond[cut + 1]
    for step in range(steps):
        lanes = none
        for row in range(count):
            lanes |= one << np.uint64(row * steps + step)
        cut = cut_bounds[horizon]
        while cut < cut_bounds[horizon + 1] and cuts[cut] < horizons[step]:
            beyond[cut] |= lanes
            cut += 1


@compiled(_EVALUATE)
def evaluate(
    places: _U16, horizons: _F32, splits: _U64, split_bounds: _I64, leaves: _F32,
    leaf_bounds: _I64, bounds: _I64, cuts: _F32, cut_bounds: _I64, out: _F32,
) -> None:  # fmt: skip
    """Sum the leaves of each ensemble for rows crossed with horizons.

    Sums are float32 in the order of the trees, as `tree_kernel.evaluate`'s are.

    Args:
        places: Of inputs without the horizon, shape (n, inputs - 1): `tree_kernel.place`.
        horizons: Ascending, shape (h,), h < 64.
        splits: Packed splits of all trees, parents first; children are numbered within the tree,
            splits first, then leaves.
        split_bounds: Where each tree's splits begin, and the end.
        leaves: Values of all leaves, in the order of their numbers.
        leaf_bounds: Where each tree's leaves begin, and the end.
        bounds: Where each ensemble's trees begin, and the end.
        cuts: Ascending thresholds of each input, one after the other.
        cut_bounds: Where each input's begin, and the end; the horizon is the last input.
        out: Filled in, shape (n, ensembles, h).
    """
    one, none = np.uint64(1), np.uint64(0)
    steps = horizons.shape[0]
    beyond = np.zeros(cuts.shape[0] + 1, np.uint64)
    nulls = np.zeros(2 * cut_bounds.shape[0], np.uint64)
    sets = np.empty(CHILD_MASK + 1, np.uint64)
    totals = np.empty(LANES, np.float32)
    at_once = LANES // steps
    for first in range(0, places.shape[0], at_once):
        count = min(at_once, places.shape[0] - first)
        lanes = count * steps
        _fill(places, first, count, horizons, cuts, cut_bounds, beyond, nulls)
        everyone = ~none if lanes == LANES else (one << np.uint64(lanes)) - one
        for ensemble in range(bounds.shape[0] - 1):
            totals[:] = np.float32(0.0)
            for tree in range(bounds[ensemble], bounds[ensemble + 1]):
                start = split_bounds[tree]
                inner = split_bounds[tree + 1] - start
                sets[0] = everyone
                for at in range(inner):
                    split = splits[start + at]
                    given = (split >> np.uint64(GIVEN_SHIFT)) & np.uint64(GIVEN_MASK)
                    right = beyond[split >> np.uint64(CUT_SHIFT)] | nulls[given]
                    own = sets[at]
                    sets[(split >> np.uint64(LEFT_SHIFT)) & np.uint64(CHILD_MASK)] = own & ~right
                    sets[split & np.uint64(CHILD_MASK)] = own & right
                leaf = leaf_bounds[tree]
                for at in range(leaf_bounds[tree + 1] - leaf):
                    own, value = sets[inner + at], leaves[leaf + at]
                    while own != none:
                        totals[trailing_zeros(own)] += value
                        own &= own - one
            for lane in range(lanes):
                out[first + lane // steps, ensemble, lane % steps] = totals[lane]
