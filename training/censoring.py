"""What lists do not show: how videos that left the record grew, beside those that stayed; pure.

Labels of daily lists exist only for videos still listed then. Where a panel followed videos after
they had left, both kinds can be set side by side: how far is what is learnt from one true of the
other?
"""

from typing import Any

import numpy as np
import pandas as pd

from feature_repo.targets import log_count
from training.baselines import AGE_EDGES_HOURS

HORIZONS = (1, 3, 7)
LEAST_LABELS = 30


def censoring(panel: pd.DataFrame, listed: pd.MultiIndex) -> list[dict[str, Any]]:
    """Compare growth after a day on the list, by whether the video was still listed at its end.

    The forecast is the mean log growth at the same age and horizon, known of listed videos alone
    (Szabo and Huberman, CACM 53(8), 2010): what a model that sees only lists could learn.

    Args:
        panel: video_id, day (whole days), views, published_at; one row per video and day.
        listed: The (video_id, day) that daily lists hold.

    Returns:
        One row per horizon with enough labels: `horizon_days`; for videos still `listed` and those
        that `left`: `n_*`, `growth_*` (mean, decades), `rmse_*` and `bias_*` (forecast less truth)
        of the forecast.
    """
    start = panel[pd.MultiIndex.from_frame(panel[["video_id", "day"]]).isin(listed)]
    return [row for days in HORIZONS if (row := _at_horizon(panel, start, listed, days))]


def _at_horizon(
    panel: pd.DataFrame, start: pd.DataFrame, listed: pd.MultiIndex, days: int
) -> dict[str, Any] | None:
    then = panel[["video_id", "day", "views"]].assign(day=panel["day"] - days)
    pairs = start.merge(then, on=["video_id", "day"], suffixes=("", "_then"))
    end = pd.MultiIndex.from_arrays([pairs["video_id"], pairs["day"] + days])
    stayed = end.isin(listed)
    if min(stayed.sum(), (~stayed).sum()) < LEAST_LABELS:
        return None
    growth = pd.Series(log_count(pairs["views_then"].to_numpy(float)))
    growth -= log_count(pairs["views"].to_numpy(float))
    moment = pd.to_datetime(pairs["day"], unit="D", utc=True) + pd.Timedelta(hours=12)
    hours = (moment - pairs["published_at"]).dt.total_seconds() / 3600.0
    age = pd.Series(np.digitize(hours, AGE_EDGES_HOURS))
    usual = growth[stayed].groupby(age[stayed]).mean()
    error = (age.map(usual).fillna(growth[stayed].mean()) - growth).to_numpy()
    row: dict[str, Any] = {"horizon_days": days}
    for name, part in (("listed", stayed), ("left", ~stayed)):
        row |= {
            f"n_{name}": int(part.sum()),
            f"growth_{name}": float(growth[part].mean()),
            f"rmse_{name}": float(np.sqrt(np.mean(error[part] ** 2))),
            f"bias_{name}": float(np.mean(error[part])),
        }
    return row
