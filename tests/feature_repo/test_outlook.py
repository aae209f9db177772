import math

import numpy as np
import pytest

from feature_repo.transformations.channel_growth import channel_growth
from feature_repo.transformations.declared import names
from feature_repo.transformations.normals import NORMAL_FEATURES
from feature_repo.transformations.outlook import (
    GROWTH_INPUTS,
    OUTLOOK_FEATURES,
    OUTLOOK_INPUTS,
    look_ahead,
)

DAY = 86_400.0
NOON = 20_000 * DAY + DAY / 2


def outlook(inputs, as_of):
    """Give the features by name, of inputs by name."""
    out = np.empty((len(OUTLOOK_FEATURES), len(as_of)))
    several = [np.array([inputs[n] for n in block]) for block in (GROWTH_INPUTS, NORMAL_FEATURES)]
    moments = [inputs[name] for name in ("published_at", "observed_at", "log10_views")]
    look_ahead(*moments, *several, inputs["channel_growth_exponent"], as_of, out)
    return dict(zip(names(OUTLOOK_FEATURES), out, strict=True))


def asked(**known):
    inputs = {name: np.array([np.nan]) for name in OUTLOOK_INPUTS}
    inputs |= {"published_at": np.array([NOON - 4 * DAY]), "observed_at": np.array([NOON])}
    inputs |= {name: np.array([value]) for name, value in known.items()}
    return {name: value[0] for name, value in outlook(inputs, np.array([NOON])).items()}


def test_a_power_law_goes_on_as_it_was():
    # Views as age**0.8: from four days on, a day later it is 0.8 * log10(5 / 4) decades more.
    growth = 0.8 * (math.log10(4) - math.log10(3))
    found = asked(log10_views_growth_1d=growth)
    assert found["views_exponent_1d"] == pytest.approx(0.8, rel=0.02)
    assert found["power_law_growth_24h"] == pytest.approx(0.8 * math.log10(5 / 4), rel=0.02)


def test_the_channels_pace_takes_a_video_without_its_own_along():
    found = asked(channel_growth_exponent=0.5)
    assert found["channel_law_growth_72h"] == pytest.approx(0.5 * math.log10(7 / 4), rel=1e-3)
    assert np.isnan(found["power_law_growth_72h"])


def test_what_is_still_to_go_is_the_channels_normal_less_views_now():
    found = asked(log10_views=4.0, channel_normal_log10_views_192h=4.6)
    assert found["channel_to_go_log10_views_192h"] == pytest.approx(0.6)


def test_a_row_alone_and_in_a_batch_are_equal_to_the_bit():
    random = np.random.default_rng(2)
    inputs = {name: random.normal(3, 2, 400) for name in OUTLOOK_INPUTS}
    inputs["published_at"] = NOON - DAY * random.exponential(9, 400)
    inputs["observed_at"] = NOON - 3_600 * random.uniform(0, 40, 400)
    inputs["log10_views_growth_1d"][::7] = np.nan
    as_of = np.full(400, NOON)
    together = outlook(inputs, as_of)
    assert tuple(together) == names(OUTLOOK_FEATURES)
    for row in range(0, 400, 23):
        alone = outlook({n: v[row : row + 1] for n, v in inputs.items()}, as_of[:1])
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][row])


def test_a_channels_exponents_are_those_of_its_earlier_videos_only():
    found = channel_growth(
        channel=np.zeros(4, dtype=np.int64),
        observed=np.array([1, 2, 10, 11]) * DAY,
        video=np.array([0, 0, 1, 1]),
        published=np.array([0.5, 0.5, 9.5, 9.5]) * DAY,
        views=np.array([99.0, 999.0, 99.0, 9999.0]),
        valid_until=np.full(4, np.inf),
    )
    one, two = 1 / math.log10(3), 2 / math.log10(3)
    np.testing.assert_allclose(found["channel_latest_growth_exponent"], [np.nan, one, one, two])
    np.testing.assert_allclose(
        found["channel_growth_exponent"],
        [np.nan, (one + 1) / 3, (one + 1) / 3, (one + two + 1) / 4],
    )
