"""The drift report for people: Evidently's page over the reference and what was asked."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_REFERENCE_ROWS = 5_000


def write_html(
    path: Path,
    names: Sequence[str],
    reference: NDArray[np.float64],
    weights: NDArray[np.float64],
    current: NDArray[np.float64],
) -> None:
    """Write the page; the reference is drawn anew by its weights, so that both ask alike.

    Features are in the order given: put those that move forecasts most first.
    """
    random = np.random.default_rng(0)
    drawn = random.choice(len(reference), _REFERENCE_ROWS, p=weights / weights.sum())
    frames = [pd.DataFrame(rows, columns=list(names)) for rows in (reference[drawn], current)]
    # A feature that is null throughout on either side has no distribution to draw.
    shown = [name for name in names if all(frame[name].notna().any() for frame in frames)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently import Report
        from evidently.presets import DataDriftPreset

        report = Report([DataDriftPreset(columns=shown, method="psi")])
        page = report.run(frames[1][shown], frames[0][shown])
        page.save_html(str(path))
