"""Request features as the kernel computes them against the same definitions run by numpy."""

import numpy as np
import pytest

from feature_repo.segments import tier_number
from feature_repo.transformations.published import PUBLISHED_INPUTS, published_request
from serving.row_kernel import assemble, tell
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
    rows, stored = 3_000, drawn(3_000, 1)
    stored["observed_at"][1::3] += 0.25
    given = np.ascontiguousarray(np.array(list(stored.values())).T)
    wanted_as_of = np.maximum(NOW, np.ceil(stored["observed_at"]))
    wanted = published_request(stored, wanted_as_of)
    width, columns = len(stored), np.arange(len(stored) + len(wanted))
    tier, counted = PUBLISHED_INPUTS.index("channel_normal_log10_views_24h"), np.array([3, 0])
    defaults = np.where(columns % 2, np.float32("nan"), np.float32(-7.0)).astype(np.float32)
    known = np.empty((rows, len(columns)))
    features, missing = np.empty(known.shape, np.float32), np.empty(known.shape, np.bool_)
    as_of, tiers, counts = np.empty(rows), np.empty(rows, np.int64), np.empty((rows, 2))
    view_of_value, nulls = np.arange(width) % 3, np.zeros(3, np.int64)
    observed = PUBLISHED_INPUTS.index("observed_at")
    assemble(
        given, NOW, observed, np.arange(width), columns, defaults, tier, counted, view_of_value,
        as_of, known, features, missing, tiers, counts, nulls,
    )  # fmt: skip
    seen = ~np.isnan(stored["observed_at"])  # nobody asks about a video that was never observed
    np.testing.assert_array_equal(as_of[seen], wanted_as_of[seen])
    names = (*stored, *wanted)
    known_of_seen = dict(zip(names, known[seen].T, strict=True))
    wanted_of_seen = {name: values[seen] for name, values in (stored | wanted).items()}
    assert differing(known_of_seen, wanted_of_seen) == set()
    np.testing.assert_array_equal(missing, np.isnan(known))
    read = known.astype(np.float32)
    np.testing.assert_array_equal(features, np.where(np.isnan(read), defaults, read))
    np.testing.assert_array_equal(tiers, tier_number(read[:, tier].astype(np.float64)))
    np.testing.assert_array_equal(counts, given[:, counted])
    assert nulls.tolist() == [int(np.isnan(given[:, view::3]).sum()) for view in range(3)]


def texts(factors, present, order=(0, 1, 2), first=0, last=None):
    """Tell counts between the parts of a text."""
    parts = [b"<%d:" % at for at in range(len(order) * (1 + factors[0, 0].size) + 1)]
    literals = np.frombuffer(bytearray().join(parts), np.uint8)
    bounds = np.cumsum([0, *map(len, parts)])
    last = len(factors) if last is None else last
    told, ends = np.zeros(1_000_000, np.uint8), np.empty(len(factors), np.int64)
    done = tell(factors, present, first, last, np.array(order), literals, bounds, told, ends)
    return np.split(told, ends[:done])[:-1] if done else [], parts


def wanted_texts(factors, present, order, parts):
    ahead = np.rint((1.0 + present)[:, :, np.newaxis, np.newaxis] * factors - 1.0)
    for row, now in enumerate(present):
        counts = [count for at in order for count in (now[at], *ahead[row, at].ravel())]
        pairs = zip(parts, [*(b"%d" % count for count in counts), b""], strict=True)
        yield b"".join(part for pair in pairs for part in pair)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0), (1,)])
def test_counts_are_told_as_numpy_rounds_them_up_to_the_first_that_is_none(order):
    random = np.random.default_rng(2)
    factors = 10.0 ** random.uniform(0, 6, (500, 3, 2, 3))
    present = np.rint(10.0 ** random.uniform(0, 9, (500, 3)))
    present[:9], factors[:9] = 0.0, 1.5 + np.arange(9)[:, None, None, None]  # halves, and none yet
    told, parts = texts(factors, present, order)
    wanted = list(wanted_texts(factors, present, order, parts))
    assert [one.tobytes() for one in told] == wanted
    told, _ = texts(factors, present, order, 17, 230)
    assert [one.tobytes() for one in told] == wanted[17:230]
    for odd in (np.nan, np.inf, 2.0**53, -1.0):
        hidden, beyond = present.copy(), factors.copy()
        hidden[17, order[-1]] = odd
        beyond[17, order[-1], 1, 2] = odd
        assert len(texts(factors, hidden, order)[0]) == 17
        assert len(texts(beyond, present, order)[0]) == 17
        beyond[17, order[-1]] = 2.0**-50  # that many now, though few to come
        assert len(texts(beyond, hidden, order)[0]) == 17
    largest = np.full((1, 3, 1, 1), 2.0**53 - 1)
    told, parts = texts(largest, np.zeros((1, 3)), order)
    assert (
        told[0].tobytes()
        == b"".join(
            b"<%d:%s" % (at, (b"0", b"%d" % (2**53 - 2))[at % 2]) for at in range(len(parts) - 1)
        )
        + parts[-1]
    )
