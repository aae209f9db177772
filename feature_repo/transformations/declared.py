"""How a feature is declared beside the function that computes it."""

from collections.abc import Sequence
from typing import NamedTuple

# What stands for a feature that is null, stale or of an unknown entity: every feature is a float64,
# and no number would be read as the absence of one.
DEFAULT = float("nan")


class Feature(NamedTuple):
    """What a reader of a feature must know; `null` says when it is null, `never` if it is not.

    `indicator` names the feature that tells by 1 that a source keeps this one to itself, where
    there is such a one: null alone could also mean that it is not known yet.
    """

    name: str
    unit: str
    description: str
    null: str = "never"
    indicator: str = ""


def names(features: Sequence[Feature]) -> tuple[str, ...]:
    """Give the names of declared features, in order."""
    return tuple(feature.name for feature in features)
