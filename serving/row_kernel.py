"""Makes a model's inputs of stored rows, and growth of its answers, compiled: `serving.compiling`.

A row alone would cost a hundred small array operations; here it is a few hundred instructions.
"""

import numpy as np
from numpy.typing import NDArray

from feature_repo import segments
from feature_repo.segments import AGE_BANDS, TIERS, age_band_number, tier_number
from feature_repo.targets import growth_at
from feature_repo.transformations import outlook, published
from feature_repo.transformations.published import describe
from serving.compiling import compiled

_F32 = NDArray[np.float32]
_F64 = NDArray[np.float64]
_I64 = NDArray[np.int64]
_U8 = NDArray[np.uint8]

_ASSEMBLE = (
    "void(float64[:,::1],float64,int64,int64[::1],int64[::1],float32[::1],int64,int64[::1],"
    "int64[::1],float64[::1],float64[:,::1],float32[:,::1],boolean[:,::1],int64[::1],"
    "float64[:,::1],int64[::1])"
)
_COUNT = "boolean(float64[:,:,:,::1],float64[:,::1],int64,int64[::1],int64[::1])"
_WRITE = "int64(int64,int64,uint8[::1])"
_TELL = (
    "int64(float64[:,:,:,::1],float64[:,::1],int64,int64,int64[::1],uint8[::1],int64[::1],"
    "uint8[::1],int64[::1])"
)
_SPREAD = (
    "void(float32[:,:,::1],float32[:,::1],int64[::1],int64,int64[::1],float64[:,:,:,::1],"
    "float64[:,:,:,::1])"
)
_TIERS, _BANDS = len(TIERS), len(AGE_BANDS)
_WHOLE_NUMBERS = 2.0**53
MAX_DIGITS, _ZERO = len(str(2**53)), ord("0")


@compiled(_ASSEMBLE, shared=(*outlook.PARTS, *published.PARTS, describe, segments.tier_number))
def assemble(
    stored: _F64, now: float, observed: int, inputs: _I64, columns: _I64, defaults: _F32,
    tier: int, counted: _I64, view_of_value: _I64,
    as_of: _F64, known: _F64, features: _F32, missing: NDArray[np.bool_], tiers: _I64,
    counts: _F64, nulls: _I64,
) -> None:  # fmt: skip
    """Compute request features and put a model's columns together.

    Args:
        stored: Values as stored, shape (n, values).
        now: The moment of asking, whole epoch seconds.
        observed: Which of them is the moment of the observation.
        inputs: Which of them each name of PUBLISHED_INPUTS is.
        columns: Which of `known` each column of the model is.
        defaults: What a null becomes, by column.
        tier: Which of `known` the tier comes from.
        counted: Which of `known` the present count of each metric is.
        view_of_value: The number of each stored value's view.
        as_of: Filled in: the moment of asking, or of an observation that is later.
        known: Filled in: stored values, then request features.
        features: Filled in, shape (n, columns).
        missing: Filled in: where a column is null.
        tiers: Filled in: tiers by their numbers.
        counts: Filled in, shape (n, metrics).
        nulls: Added to: stored values that are null, one number per view.
    """
    width = stored.shape[1]
    given = np.empty(inputs.shape[0])
    for row in range(stored.shape[0]):
        as_of[row] = max(now, np.ceil(stored[row, observed]))
        for at in range(width):
            value = stored[row, at]
            known[row, at] = value
            if value != value:  # NaN
                nulls[view_of_value[at]] += 1
        for at in range(inputs.shape[0]):
            given[at] = stored[row, inputs[at]]
        describe(given, as_of[row], known[row, width:])
        for at in range(columns.shape[0]):
            column = np.float32(known[row, columns[at]])
            missing[row, at] = column != column  # NaN
            features[row, at] = defaults[at] if column != column else column
        # Intervals were calibrated by the tier of the value as the model reads it, in float32.
        tiers[row] = tier_number(np.float64(np.float32(known[row, tier])))
        for metric in range(counted.shape[0]):
            counts[row, metric] = known[row, counted[metric]]


@compiled(_COUNT)
def _count(factors: _F64, present: _F64, row: int, order: _I64, counts: _I64) -> bool:
    """Round a row's counts, in the order they are told; false where one is no number."""
    at = 0
    for number in range(order.shape[0]):
        now = present[row, order[number]]
        if not 0.0 <= now < _WHOLE_NUMBERS:
            return False
        counts[at] = np.int64(now)
        at += 1
        for step in range(factors.shape[2]):
            for level in range(factors.shape[3]):
                ahead = np.rint((1.0 + now) * factors[row, order[number], step, level] - 1.0)
                if not 0.0 <= ahead < _WHOLE_NUMBERS:
                    return False
                counts[at] = np.int64(ahead)
                at += 1
    return True


@compiled(_WRITE)
def _write(count: int, at: int, told: _U8) -> int:
    """Write a count in decimals; give where it ends."""
    digits, rest = 1, count // 10
    while rest > 0:
        digits, rest = digits + 1, rest // 10
    for place in range(at + digits - 1, at - 1, -1):
        told[place] = _ZERO + count % 10
        count //= 10
    return at + digits


@compiled(_TELL)
def tell(
    factors: _F64, present: _F64, first: int, last: int, order: _I64, literals: _U8, bounds: _I64,
    told: _U8, ends: _I64,
) -> int:  # fmt: skip
    """Write present counts and those to come, rounded, between the parts of a text.

    Args:
        factors: What counts are multiplied by, shape (n, metrics, horizons, quantiles).
        present: Present counts, shape (n, metrics); NaN when hidden.
        first: Which row to begin with.
        last: The row before which to end.
        order: Which metrics to tell: of each its present count, then those to come.
        literals: What stands before each number and after the last, one after the other.
        bounds: Where each of these begins, and the end.
        told: Filled in with the text of one row after the other.
        ends: Filled in with where each of these ends.

    Returns:
        How many rows were told: those before the first with a number that is no count below
        2 ** 53, beyond which no float tells one unit from the next.
    """
    at, numbers = 0, bounds.shape[0] - 2
    counts = np.empty(numbers, np.int64)
    for row in range(first, last):
        if not _count(factors, present, row, order, counts):
            return row - first
        for part in range(numbers + 1):
            for source in range(bounds[part], bounds[part + 1]):
                told[at] = literals[source]
                at += 1
            if part < numbers:
                at = _write(counts[part], at, told)
        ends[row - first] = at
    return last - first


@compiled(_SPREAD, shared=(growth_at, age_band_number))
def spread(
    answered: _F32, features: _F32, tiers: _I64, age: int, days: _I64, offsets: _F64, growth: _F64
) -> None:  # fmt: skip
    """Turn what the graph answers into growth at each quantile.

    Args:
        answered: The graph's growth, shape (n, metrics, horizons).
        features: The model's inputs, shape (n, columns).
        tiers: Tiers by their numbers.
        age: Which column is the age that intervals go by; -1 where they go by tiers alone.
        days: The horizons.
        offsets: By group, metric, day and quantile; groups are the tiers, then each by age band.
        growth: Filled in, decades, shape (n, metrics, horizons, quantiles).
    """
    for row in range(answered.shape[0]):
        group = tiers[row]
        if age >= 0:
            group = _TIERS + group * _BANDS + age_band_number(np.float64(features[row, age]))
        for metric in range(answered.shape[1]):
            for step in range(days.shape[0]):
                predicted = np.float64(answered[row, metric, step])
                for level in range(growth.shape[3]):
                    offset = offsets[group, metric, days[step], level]
                    growth[row, metric, step, level] = growth_at(predicted, offset)
