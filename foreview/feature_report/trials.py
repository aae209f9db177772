"""Two ways of asking whether what was learnt holds elsewhere: later months, and other countries."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.dataset import TrainingSet
from training.params import Params
from training.questions import Questions
from training.robustness import best_window, surviving_columns, within
from training.splits import Borders, by_time

BoolArray = NDArray[np.bool_]

LATER_MONTHS, OTHER_COUNTRIES = "later months", "countries left out"
HORIZONS = (1.0, 3.0, 7.0)
# Every so many-th country of a world, by name, is left out of training.
LEFT_OUT_EVERY = 4
LEAST_COUNTRIES = 4
# So few labels decide nothing.
LEAST_LABELS = 200


class Trial(NamedTuple):
    """What is learnt from and what is asked, disjoint in time or in countries.

    Attributes:
        fitted_on: Labels as production would ask for them, thinned.
        asked: The protocol's labels with known views, thinned.
    """

    name: str
    fitted_on: TrainingSet
    asked: TrainingSet


def trials(
    asked: Questions, at: Borders, countries: "pd.Series[str]", params: Params, most: int
) -> list[Trial]:
    """Set up every trial that a world has labels enough for.

    Columns and the window are chosen by the rules of training, which know nothing of the test.

    Args:
        asked: The questions of one situation.
        at: The borders of time.
        countries: The country of each video by its id; may be empty.
        params: The parameters of training.
        most: Labels to fit on, and to ask for, at most.
    """
    split = by_time(asked.drawn.rows, asked.drawn.labels, at)
    kept = surviving_columns(asked.drawn, split, params.robustness.most_null_shift)
    drawn = asked.drawn.reading(tuple(asked.drawn.columns[i] for i in kept))
    recent = within(drawn, best_window(drawn, split, params))
    protocol = asked.protocol.reading(drawn.columns)
    judged = _judged(protocol)
    later = judged & by_time(protocol.rows, protocol.labels, at).test
    found = [_trial(LATER_MONTHS, drawn, split.before_test & recent, protocol, later, most)]
    left_out = left_out_countries(countries)
    if left_out:
        own, theirs = (_in_countries(one, countries, left_out) for one in (drawn, protocol))
        # A channel that is listed both here and there is learnt from nowhere.
        channels = set(_of_labels(protocol, "channel_id")[theirs])
        strange = ~own & ~np.isin(_of_labels(drawn, "channel_id"), list(channels))
        found.append(_trial(OTHER_COUNTRIES, drawn, strange, protocol, judged & theirs, most))
    return [t for t in found if min(len(t.fitted_on.labels), len(t.asked.labels)) >= LEAST_LABELS]


def left_out_countries(countries: "pd.Series[str]") -> list[str]:
    """Name the countries that are held back; none where too few are known."""
    known = sorted(countries.dropna().unique())
    return known[1::LEFT_OUT_EVERY] if len(known) >= LEAST_COUNTRIES else []


def evenly(chosen: BoolArray, most: int) -> BoolArray:
    """Keep at most so many of what is chosen, at even distances."""
    at = np.flatnonzero(chosen)
    kept = np.zeros(len(chosen), dtype=bool)
    kept[at[:: max(-(-len(at) // most), 1)]] = True
    return kept


def _trial(
    name: str,
    drawn: TrainingSet,
    learnt: BoolArray,
    protocol: TrainingSet,
    judged: BoolArray,
    most: int,
) -> Trial:
    known = drawn.labels["views"].notna().to_numpy()
    return Trial(
        name, drawn.where(evenly(learnt & known, most)), protocol.where(evenly(judged, most))
    )


def _judged(protocol: TrainingSet) -> BoolArray:
    """Mark the labels that count: of drafts those at first sight, which most are."""
    days = protocol.labels["horizon_days"].to_numpy(np.float64)
    known = protocol.labels["views"].notna().to_numpy()
    first = np.isnan(days)
    return known & (first if first.any() else np.isin(days, HORIZONS))


def _in_countries(
    some: TrainingSet, countries: "pd.Series[str]", chosen: Sequence[str]
) -> BoolArray:
    return np.isin(countries.reindex(_of_labels(some, "video_id")).to_numpy(str), list(chosen))


def _of_labels(some: TrainingSet, column: str) -> NDArray[np.str_]:
    return some.rows[column].to_numpy(str)[some.labels["row"].to_numpy()]
