import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.records import DAY, START, snapshots
from tests.training.sets import NOON, few_trees, grown
from training.dataset import Record
from training.errors import TooLittleData
from training.params import SplitParams, read_params
from training.pipeline import fit, protocol_borders, training_borders
from training.questions import Questions
from training.settings import TrainingSettings
from training.splits import borders, by_time, require

questions = st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30)), min_size=1, max_size=60)


@settings(deadline=None)
@given(questions)
def test_nothing_known_later_crosses_a_border(pairs):
    rows = pd.DataFrame({"event_timestamp": [START + DAY * day for day, _ in pairs]})
    labels = pd.DataFrame(
        {"row": range(len(pairs)), "observed_at": [START + DAY * (d + h) for d, h in pairs]}
    )
    at = borders(START, START + DAY * 100, SplitParams(test_share=0.2, calibration_share=0.15))
    split = by_time(rows, labels, at)
    asked, answered = rows["event_timestamp"], labels["observed_at"]
    assert (answered[split.fit] < at.calibration).all()
    assert (asked[split.calibration] >= at.calibration).all()
    assert (answered[split.before_test] < at.test).all()
    assert (answered[split.calibration] < at.test).all()
    assert (asked[split.test] >= at.test).all()
    assert not (split.fit & split.calibration).any()
    assert not (split.before_test & split.test).any()


@pytest.mark.parametrize(("days", "held_back"), [(100, 20), (140, 28), (400, 28)])
def test_a_test_is_a_share_of_the_time_but_no_longer_than_weeks(days, held_back):
    shares = SplitParams(test_share=0.2, most_test_days=28, calibration_share=0.15)
    at = borders(START, START + DAY * days, shares)
    second = pd.Timedelta(seconds=1)  # past the last label
    assert at.test == START + DAY * (days - held_back) + second
    assert at.calibration == START + DAY * (days - held_back - days * 0.15)


def test_the_protocol_holds_back_its_fifth_whatever_a_training_does():
    record = Record(snapshots([("a", 0.0, 1.0), ("a", 400.0, 2.0)]), pd.DataFrame())
    params = read_params(TrainingSettings().params)
    assert training_borders(record, params).test.floor("D") == (START + DAY * 372).floor("D")
    assert protocol_borders(record, params).test.floor("D") == (START + DAY * 320).floor("D")
    nothing_held_back = protocol_borders(record, params, hold_out=False)
    assert nothing_held_back.test > START + DAY * 400


def test_too_few_labels_are_refused_with_the_way_out():
    with pytest.raises(TooLittleData, match="draft: only 3 labels to calibrate with"):
        require("draft", "calibrate", 3, 500)


def test_a_metric_that_every_video_hides_is_refused_by_its_name():
    seen = grown(600, 1)
    hidden = seen._replace(labels=seen.labels.assign(likes=np.nan))
    shares = SplitParams(test_share=0.1, calibration_share=0.5)
    at = borders(NOON - 25 * DAY, NOON + 30 * DAY, shares)
    with pytest.raises(TooLittleData, match="published, likes: only 0 labels to fit with"):
        fit(Questions(hidden, hidden), at, few_trees())
