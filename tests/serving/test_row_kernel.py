"""Request features as the kernel computes them against the same definitions run by numpy."""

import numpy as np
import pytest

from feature_repo.segments import tier_number
from feature_repo.transformations.published import PUBLISHED_INPUTS, published_request
from serving.row_kernel import assemble
from tests.exactness import differing

NOW = 1_750_000_000.0
MOMENTS = ("published_at", "observed_at", "channel_last_upload_at")


def drawn(rows: int, seed: int) -> dict[str, np.ndarray]:
    """Draw what is stored: nulls, zeros, infinities, and videos seen as they were published."""
    random = np.random.default_rng(seed)
    stored = {name: random.uniform(-1, 9, rows) for name in PUBLISHED_INPUTS}
    stored |= {name: NOW + random.integers(-4e6, 4e6, rows) for name in MOMENTS}
    stored["observed_at"][::5] = stored["published_at"][::5]
    for values in stored.values():
        values[random.random(rows) < 0.1] = np.nan
        values[random.random(rows) < 0.02] = 0.0
        values[random.random(rows) < 0.01] = np.inf
    return stored


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_compiled_row_is_what_training_computes_to_the_bit():
    stored, as_of = drawn(3_000, 1), NOW + np.arange(3_000.0)
    given = np.ascontiguousarray(np.array(list(stored.values())).T)
    wanted = published_request(stored, as_of)
    width, tier = len(stored), PUBLISHED_INPUTS.index("channel_normal_log10_views_24h")
    known = np.empty((3_000, width + len(wanted)))
    features, missing = np.empty(known.shape, np.float32), np.empty(known.shape, np.bool_)
    tiers, columns = np.empty(3_000, np.int64), np.arange(known.shape[1])
    defaults = np.where(columns % 2, np.float32("nan"), np.float32(-7.0)).astype(np.float32)
    assemble(
        given, as_of, np.arange(width), columns, defaults, tier, known, features, missing, tiers
    )
    names = (*stored, *wanted)
    assert differing(dict(zip(names, known.T, strict=True)), stored | wanted) == set()
    np.testing.assert_array_equal(missing, np.isnan(known))
    read = known.astype(np.float32)
    np.testing.assert_array_equal(features, np.where(np.isnan(read), defaults, read))
    np.testing.assert_array_equal(tiers, tier_number(read[:, tier].astype(np.float64)))
