"""Request fields as Feast hands them over, turned into the arrays that transformations take."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def epoch_seconds(moments: "pd.Series[Any]") -> FloatArray:
    """Give moments as whole epoch seconds.

    Offline they come as instants to the microsecond, online Feast has cut them to whole seconds:
    cutting both makes them equal.

    Args:
        moments: Instants (aware, or naive in UTC) or epoch seconds.
    """
    if pd.api.types.is_numeric_dtype(moments):
        return np.floor(moments.to_numpy(dtype=np.float64))
    instants = pd.to_datetime(moments, utc=True).dt.tz_localize(None)
    return np.floor(instants.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6)


def float_columns(inputs: pd.DataFrame, names: Sequence[str]) -> dict[str, FloatArray]:
    """Give columns as float64, NaN where null."""
    return {name: inputs[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}


def draft_arrays(
    inputs: pd.DataFrame,
) -> tuple[list[str], list[str | None], list[list[str] | None], FloatArray, FloatArray]:
    """Give title, description, tags, category and duration.

    As with YouTube's own answers, tags left empty are null, a description left empty is a text.
    """
    return (
        ["" if pd.isna(title) else str(title) for title in inputs["title"]],
        [text if isinstance(text, str) else None for text in inputs["description"]],
        [tags.split("\n") if isinstance(tags, str) and tags else None for tags in inputs["tags"]],
        _positive(inputs["draft_category_id"]),
        _positive(inputs["draft_duration_seconds"]),
    )


def _positive(values: "pd.Series[float]") -> FloatArray:
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(numbers > 0, numbers, np.nan)
