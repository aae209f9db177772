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

_ASSEMBLE = (
    "void(float64[:,::1],float64[::1],int64[::1],int64[::1],float32[::1],int64,float64[:,::1],"
    "float32[:,::1],boolean[:,::1],int64[::1])"
)
_COUNT_NULLS = "void(float64[:,::1],int64[::1],int64[::1])"
_SPREAD = (
    "void(float32[:,:,::1],float32[:,::1],int64[::1],int64,int64[::1],float64[:,:,:,::1],"
    "float64[:,:,:,::1])"
)
_TIERS, _BANDS = len(TIERS), len(AGE_BANDS)


@compiled(_ASSEMBLE, shared=(*outlook.PARTS, *published.PARTS, describe, segments.tier_number))
def assemble(
    stored: _F64, as_of: _F64, inputs: _I64, columns: _I64, defaults: _F32, tier: int,
    known: _F64, features: _F32, missing: NDArray[np.bool_], tiers: _I64,
) -> None:  # fmt: skip
    """Compute request features and put a model's columns together.

    Args:
        stored: Values as stored, shape (n, values).
        as_of: The moment of asking per row, epoch seconds.
        inputs: Which of them each name of PUBLISHED_INPUTS is.
        columns: Which of `known` each column of the model is.
        defaults: What a null becomes, by column.
        tier: Which of `known` the tier comes from.
        known: Filled in: stored values, then request features.
        features: Filled in, shape (n, columns).
        missing: Filled in: where a column is null.
        tiers: Filled in: tiers by their numbers.
    """
    width = stored.shape[1]
    given = np.empty(inputs.shape[0])
    for row in range(stored.shape[0]):
        known[row, :width] = stored[row]
        for at in range(inputs.shape[0]):
            given[at] = stored[row, inputs[at]]
        describe(given, as_of[row], known[row, width:])
        for at in range(columns.shape[0]):
            value = np.float32(known[row, columns[at]])
            missing[row, at] = value != value  # NaN
            features[row, at] = defaults[at] if value != value else value
        # Intervals were calibrated by the tier of the value as the model reads it, in float32.
        tiers[row] = tier_number(np.float64(np.float32(known[row, tier])))


@compiled(_COUNT_NULLS)
def count_nulls(stored: _F64, view_of_value: _I64, counts: _I64) -> None:
    """Count null values by their view.

    Args:
        stored: Values as stored, shape (n, values).
        view_of_value: The number of each value's view.
        counts: Added to, one per view.
    """
    for row in range(stored.shape[0]):
        for at in range(stored.shape[1]):
            if stored[row, at] != stored[row, at]:  # NaN
                counts[view_of_value[at]] += 1


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
