"""What trees answered to rows they cannot tell from the ones that are asked about."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serving.trees import Places, Walk

Sums = NDArray[np.float32]


class RememberedSums:
    """Sums of leaves by the thresholds that a row's features lie between, newest last.

    Rows between the same thresholds reach the same leaves: what is remembered is the trees' own
    answer, to the bit, whichever video and moment it was first worked out for.
    """

    def __init__(
        self,
        walk: Walk,
        outputs: int,
        capacity: int,
        count: Callable[[str, int], None] = lambda source, rows: None,
    ) -> None:
        """Remember what `walk` gives, for so many rows; 0: nothing.

        `count` is told how many rows were answered from memory and how many by the trees.
        """
        self._walk = walk
        self._count = count
        self._outputs = outputs
        self._capacity = capacity
        self._known: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def sums(self, places: Places, days: NDArray[np.int_]) -> Sums:
        """Give sums as `walk` does, shape (rows, outputs, horizons), walking for new rows alone."""
        asked, seen, width = days.tobytes(), places.tobytes(), places.itemsize * places.shape[1]
        told: list[bytes] = []
        new: dict[int, bytes] = {}
        known = self._known
        for at in range(0, len(seen), width):
            key = asked + seen[at : at + width]
            sums = known.get(key, b"")
            if not sums:
                new[len(told)] = key
            told.append(sums)
        if len(new) < len(told):
            self._count("memory", len(told) - len(new))
        if new:
            self._count("trees", len(new))
            walked = self._walk(places[list(new)], days)
            for (at, key), own in zip(new.items(), walked, strict=True):
                told[at] = own.tobytes()
                self._keep(key, told[at])
        whole = bytearray().join(told)  # can be written to, as the scale of growth is
        return np.frombuffer(whole, np.float32).reshape(len(places), self._outputs, len(days))

    def _keep(self, key: bytes, sums: bytes) -> None:
        # Many rows are walked for beside the event loop: each step here is one of the interpreter.
        self._known[key] = sums
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
