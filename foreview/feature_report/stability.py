"""How features move: from month to month, and from country to country; pure."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.families import family_of
from observability.distances import distances
from training.dataset import TrainingSet, names

Row = dict[str, Any]

# Rows compared at most, of a month or country and of all others: PSI has ten bins.
MOST_ROWS = 4_000
LEAST_ROWS = 100


def by_month(asked: TrainingSet) -> list[Row]:
    """Compare each month's questions with all others'; rows as of `by_group`."""
    moments = pd.DatetimeIndex(pd.to_datetime(asked.rows["event_timestamp"], utc=True))
    return by_group(asked, moments.strftime("%Y-%m").to_numpy(str), "month")


def by_country(asked: TrainingSet, countries: "pd.Series[str]") -> list[Row]:
    """Compare each country's questions with all others'; rows as of `by_group`."""
    of = countries.reindex(asked.rows["video_id"].to_numpy()).fillna("").to_numpy(str)
    return by_group(asked, of, "country")


def by_group(asked: TrainingSet, groups: NDArray[np.str_], kind: str) -> list[Row]:
    """Compare each group's questions with all others'.

    Returns:
        A row per feature and group: `null_share`, `psi` (population stability index against the
        other groups; nulls are a bin of their own), and `shift`, by how many spreads of the others
        its median lies above theirs; None where either side has no value.
    """
    found = []
    for group in sorted(set(groups) - {""}):
        inside, outside = groups == group, (groups != group) & (groups != "")
        if min(inside.sum(), outside.sum()) < LEAST_ROWS:
            continue
        own, others = (asked.features[_some(part)].astype(np.float64) for part in (inside, outside))
        for at, name in enumerate(names(asked.columns)):
            found.append(
                {
                    "situation": asked.situation,
                    "feature": name,
                    "family": family_of(name),
                    kind: group,
                    "null_share": float(np.isnan(own[:, at]).mean()),
                    "psi": distances(others[:, at], np.ones(len(others)), own[:, at]).psi,
                    "shift": _shift(own[:, at], others[:, at]),
                }
            )
    return found


def _some(part: NDArray[np.bool_]) -> NDArray[np.int64]:
    at = np.flatnonzero(part)
    return at[:: max(-(-len(at) // MOST_ROWS), 1)]


def _shift(own: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    own, others = own[~np.isnan(own)], others[~np.isnan(others)]
    if not len(own) or not len(others):
        return None
    low, middle, high = np.quantile(others, [0.25, 0.5, 0.75])
    spread = float(high - low) or float(np.std(others))
    return float((np.median(own) - middle) / spread) if spread else 0.0
