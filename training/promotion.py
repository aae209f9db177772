"""May a challenger replace the champion? Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.behaviour import Finding

FloatArray = NDArray[np.float64]

RESAMPLES = 1_000
CONFIDENCE = 0.95  # that the gain is above the lower end, and as much that it is below the upper
COVERAGE_TOLERANCE = 0.05
LEAST_CHANNELS = 2


class Verdict(NamedTuple):
    """Whether to promote, and why in words for people."""

    promote: bool
    reason: str


def against_champion(
    challenger_error: FloatArray,
    champion_error: FloatArray,
    channels: NDArray[np.object_],
    seed: int,
) -> Verdict:
    """Compare squared errors on the same rows by a paired bootstrap over channels.

    Videos of one channel err together: channels, not rows, are drawn.

    Args:
        challenger_error: Forecast less truth in decades, one per row.
        champion_error: The same for the champion.
        channels: The channel of each row.
        seed: Of the draw.
    """
    _, channel = np.unique(channels.astype(str), return_inverse=True)
    gain = np.bincount(channel, champion_error**2 - challenger_error**2)
    base = np.bincount(channel, champion_error**2)
    if len(gain) < LEAST_CHANNELS:
        return Verdict(False, "not shown to be better: all rows compared are of one channel")
    drawn = np.random.default_rng(seed).integers(len(gain), size=(RESAMPLES, len(gain)))
    # Of channels whose views stand still a champion may be exactly right: nothing to gain there.
    if not base.any():
        return Verdict(False, "not shown to be better: the champion is exactly right everywhere")
    gained, missed = gain[drawn].sum(axis=1), base[drawn].sum(axis=1)
    nothing = np.where(gained < 0, -np.inf, 0.0)
    share = np.divide(gained, missed, out=nothing, where=missed > 0)
    low = np.quantile(share, 1 - CONFIDENCE, method="lower")
    high = np.quantile(share, CONFIDENCE, method="higher")
    measured = (
        f"squared error {gain.sum() / base.sum():+.1%} below the champion's on the same "
        f"{len(channels):,} rows ({2 * CONFIDENCE - 1:.0%} between {low:+.1%} and {high:+.1%})"
    )
    if low > 0:
        return Verdict(True, f"better: {measured}")
    return Verdict(False, f"not shown to be better: {measured}")


def behaves(findings: Sequence[Finding]) -> Verdict:
    """Refuse a model that does what none may."""
    wrong = [f"{finding.name}: {finding.seen}" for finding in findings if not finding.holds]
    if wrong:
        return Verdict(False, f"it misbehaves ({'; '.join(wrong)})")
    return Verdict(True, f"{len(findings)} trials of its behaviour held")


def coverage_holds(coverage: float) -> Verdict:
    """Refuse a model whose 80 % interval does not hold on the test rows; NaN: there are none."""
    if np.isnan(coverage):
        return Verdict(False, "nothing in its test tells whether its 80 % interval holds")
    if abs(coverage - 0.8) <= COVERAGE_TOLERANCE:
        return Verdict(True, f"its 80 % interval held {coverage:.1%} of the time")
    return Verdict(False, f"its 80 % interval held {coverage:.1%} of the time, too far from 80 %")


def for_a_person(verdict: Verdict) -> Verdict:
    """Leave it to a person to promote what may be promoted; a refusal stays one."""
    if not verdict.promote:
        return verdict
    return Verdict(False, f"waits for a person to run `foreview promote`: {verdict.reason}")
