"""Time divided into fitting, calibration and test, with nothing known across the borders; pure."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.errors import TooLittleData
from training.params import SplitParams

BoolArray = NDArray[np.bool_]


class Borders(NamedTuple):
    """Moments between the parts; a label is observed before the border its question precedes."""

    calibration: pd.Timestamp
    test: pd.Timestamp


class Split(NamedTuple):
    """Which labels belong to which part; those that straddle a border belong to none."""

    fit: BoolArray
    calibration: BoolArray
    before_test: BoolArray
    test: BoolArray


def borders(first: pd.Timestamp, last: pd.Timestamp, params: SplitParams) -> Borders:
    """Cut the time from the first moment to the last by the shares of the parameters.

    The test is no longer than `most_test_days`; calibration keeps its share.
    """
    length = last - first
    held_back = length * params.test_share
    if params.most_test_days is not None:
        held_back = min(held_back, pd.Timedelta(days=params.most_test_days))
    test = last - held_back
    calibration = test - length * params.calibration_share
    one_second = pd.Timedelta(seconds=1)  # past the last label, where nothing is held back
    return Borders(calibration=calibration.ceil("s"), test=test.ceil("s") + one_second)


def by_time(rows: pd.DataFrame, labels: pd.DataFrame, at: Borders) -> Split:
    """Divide labels by time: the gap before each border is as long as each label's horizon.

    Args:
        rows: Questions, with `event_timestamp`.
        labels: `row`, `observed_at`.
        at: The borders.
    """
    asked = pd.DatetimeIndex(rows["event_timestamp"])[labels["row"].to_numpy()]
    answered = pd.DatetimeIndex(labels["observed_at"])
    return Split(
        fit=answered < at.calibration,
        calibration=(asked >= at.calibration) & (answered < at.test),
        before_test=answered < at.test,
        test=asked >= at.test,
    )


def require(situation: str, part: str, n: int, least: int) -> None:
    """Refuse to go on with too few labels; raises TooLittleData."""
    if n < least:
        raise TooLittleData(
            f"{situation}: only {n} labels to {part} with, at least {least} are needed: collect "
            "for longer, or load more"
        )
