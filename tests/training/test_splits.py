import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.records import DAY, START
from training.errors import TooLittleData
from training.params import SplitParams
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


def test_too_few_labels_are_refused_with_the_way_out():
    with pytest.raises(TooLittleData, match="draft: only 3 labels to calibrate with"):
        require("draft", "calibrate", 3, 500)
