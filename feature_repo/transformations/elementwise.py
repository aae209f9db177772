"""What arithmetic needs that is written once, for arrays and for the numbers of a compiled kernel.

numpy runs these bodies on a value per row; serving tells its compiler what each is for one value
(`serving/compiling.py`). Whatever else such arithmetic uses means the same for both.
"""

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np


def places(names: Sequence[str]) -> Any:
    """Give the place of each name as an attribute: `places(("a", "b")).b` is 1."""
    return namedtuple("Places", names)(*range(len(names)))


def where(condition: Any, value: Any, other: Any) -> Any:
    """Give one value where a condition holds, else the other."""
    return np.where(condition, value, other)


def of_step(block: Any, step: Any) -> Any:
    """Give of each column of a block what is in the row numbered `step`."""
    return np.take_along_axis(block, step[np.newaxis], axis=0)[0]


def whole(values: Any) -> Any:
    """Cut floats to whole numbers."""
    return values.astype(np.int64)
