"""A recorded world: answers what was recorded at its clock's instant, and nothing else."""

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ingestion.emulator.errors import invalid_value, missing, playlist_not_found
from ingestion.emulator.queries import Query, ids, listing
from ingestion.errors import IngestionError, UnreadableFile
from ingestion.recordings import Kind, find_files, observation, read_body

_VIDEOS, _CHANNELS = "youtube#videoListResponse", "youtube#channelListResponse"
_STATS = "youtube#batchGetStatsResponse"


class NothingRecorded(IngestionError):
    """There is no API body with a known moment in what was given."""


@dataclass(frozen=True)
class _Recording:
    """A file that holds an answer: read only when its instant has come."""

    path: Path
    observed_at: datetime
    region: str | None


class RecordedSite:
    """Shows recorded API bodies at the instants at which they were recorded.

    The clock stands on these instants only. A chart is answered with the recorded bytes; ids and
    channels with the items recorded at that instant. Of a video that several bodies of one instant
    tell differently, the one with the most views is shown, as in the warehouse.

    Args:
        paths: Files and directories, as `foreview load` takes them.
        world: `real` or `synthetic`.

    Raises:
        NothingRecorded: There is nothing to show.
    """

    def __init__(self, paths: Sequence[Path], world: str = "real") -> None:
        self.world = world
        found = [_recording(path) for path, kind in find_files(paths) if kind is Kind.BODY]
        self._at: dict[datetime, list[_Recording]] = {}
        for recording in found:
            if recording is not None:
                self._at.setdefault(recording.observed_at, []).append(recording)
        if not self._at:
            raise NothingRecorded(
                f"no API bodies with a known moment in {', '.join(map(str, paths))}"
            )
        self._instants = sorted(self._at)
        self._read_at: datetime | None = None
        self._bodies: list[tuple[_Recording, bytes, Mapping[str, Any]]] = []

    @property
    def start(self) -> datetime:
        """Give the first recorded instant."""
        return self._instants[0]

    @property
    def end(self) -> datetime:
        """Give the last recorded instant."""
        return self._instants[-1]

    def settle(self, moment: datetime) -> datetime:
        """Give the first recorded instant from a moment on; the last where there is none."""
        place = bisect.bisect_left(self._instants, moment)
        return self._instants[min(place, len(self._instants) - 1)]

    def after(self, moment: datetime) -> datetime:
        """Give the next recorded instant; raises ValueError at the end."""
        place = bisect.bisect_right(self._instants, moment)
        if place == len(self._instants):
            raise ValueError(f"nothing was recorded after {moment.isoformat()}")
        return self._instants[place]

    def requests(self, now: datetime) -> list[dict[str, str]]:
        """Give the charts and ids that were recorded at an instant."""
        found: list[dict[str, str]] = []
        for recording, _, body in self._recorded(now):
            if recording.region is not None and body["kind"] == _VIDEOS:
                found.append({"method": "videos.list", "regionCode": recording.region})
            else:
                method = "channels.list" if body["kind"] == _CHANNELS else "videos.list"
                names = [item["id"] for item in body.get("items", []) if "id" in item]
                found += [
                    {"method": method, "id": ",".join(names[first : first + 50])}
                    for first in range(0, len(names), 50)
                ]
        return found

    def answer(self, method: str, query: Query, now: datetime) -> Any:
        """Answer from what was recorded at this instant; raises ApiError."""
        if method == "videos.list" and query.get("chart") == "mostPopular" and "id" not in query:
            return self._chart(query, now)
        if method in ("videos.list", "videos.batchGetStats"):
            return self._listed(_VIDEOS, (_VIDEOS, _STATS), query, now)
        if method == "channels.list":
            return self._listed(_CHANNELS, (_CHANNELS,), query, now)
        if method == "playlistItems.list":
            raise playlist_not_found()
        raise invalid_value("method", f"{method} was not recorded")

    def _chart(self, query: Query, now: datetime) -> Any:
        if "pageToken" in query:
            detail = "no further page was recorded"
            raise invalid_value("pageToken", detail, reason="invalidPageToken")
        region = query.get("regionCode", "US")
        for recording, content, body in self._recorded(now):
            if recording.region == region and body["kind"] == _VIDEOS:
                return content
        return listing(_VIDEOS, [], 0, 0)

    def _listed(self, kind: str, kinds: tuple[str, ...], query: Query, now: datetime) -> Any:
        if "id" not in query:
            raise missing("id")
        best: dict[str, Any] = {}
        for _, _, body in self._recorded(now):
            if body["kind"] in kinds:
                for item in body.get("items", []):
                    known = best.get(item.get("id"))
                    if known is None or _views(item) > _views(known):
                        best[item.get("id")] = item
        items = [best[name] for name in ids(query, "id") if name in best]
        return listing(kind, items, len(items), len(items))

    def _recorded(self, now: datetime) -> list[tuple[_Recording, bytes, Mapping[str, Any]]]:
        """Read the bodies of an instant; those of one instant are kept."""
        if self._read_at != now:
            self._bodies = [_opened(recording) for recording in self._at.get(now, [])]
            self._read_at = now
        return self._bodies


def _recording(path: Path) -> _Recording | None:
    """Find out when a body was observed; one that does not tell is left out."""
    try:
        observed_at, region = observation(path)
    except UnreadableFile:
        return None
    return _Recording(path, observed_at, region)


def _opened(recording: _Recording) -> tuple[_Recording, bytes, Mapping[str, Any]]:
    content = read_body(recording.path).content
    return recording, content, orjson.loads(content)


def _views(item: Mapping[str, Any]) -> int:
    return int(item.get("statistics", {}).get("viewCount", -1))
