"""Vectors that are known to be what the online store holds: it tells when a row changes."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from serving.online_features import ReadPlan, StoredVector

# What is told may be lost on the way without a sign, by a proxy say: then for no longer than this.
LONGEST_SECONDS = 60.0


class _Held(NamedTuple):
    plan: "ReadPlan"
    vector: "StoredVector"
    keys: tuple[bytes, ...]
    until: float


class CurrentVectors:
    """The vectors that were read last and have not changed since, of so many videos.

    Attributes:
        changes: How many times something was told. What was being read at such a time may be older
            than what was told, and is not held.
    """

    def __init__(self, capacity: int, now: Callable[[], float] = monotonic) -> None:
        self.changes = 0
        self._capacity = capacity
        self._now = now
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._videos_of: dict[bytes, set[str]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def get(self, plan: "ReadPlan", video_ids: Sequence[str]) -> list["StoredVector | None"]:
        """Give the vectors of videos, read by this plan; None for one that is not held."""
        now = self._now()
        found: list[StoredVector | None] = []
        for video_id in video_ids:
            held = self._held.get(video_id)
            if held is None or held.plan is not plan or now >= held.until:
                found.append(None)
            else:
                found.append(held.vector)
        return found

    def hold(self, plan: "ReadPlan", vector: "StoredVector", keys: tuple[bytes, ...]) -> None:
        """Hold a vector until one of the keys of its rows changes.

        Whatever was read longest ago goes where there are too many.
        """
        self._drop(vector.video_id)
        if self._capacity and len(self._held) >= self._capacity:
            self._drop(next(iter(self._held)))
        if self._capacity:
            until = self._now() + LONGEST_SECONDS
            self._held[vector.video_id] = _Held(plan, vector, keys, until)
            for key in keys:
                self._videos_of.setdefault(key, set()).add(vector.video_id)

    def changed(self, keys: Sequence[bytes] | None) -> None:
        """Drop every vector of these keys; all where None."""
        self.changes += 1
        if keys is None:
            self._held.clear()
            self._videos_of.clear()
            return
        for key in keys:
            for video_id in list(self._videos_of.get(key, ())):
                self._drop(video_id)

    def _drop(self, video_id: str) -> None:
        held = self._held.pop(video_id, None)
        for key in () if held is None else held.keys:
            videos = self._videos_of[key]
            videos.discard(video_id)
            if not videos:
                del self._videos_of[key]
