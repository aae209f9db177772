"""The real collector over a synthetic world without HTTP, landing and rows; targets in memory."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import Engine

from feature_repo.clock import Clock
from ingestion import planner
from ingestion.collector import Collector
from ingestion.emulator.world import World
from ingestion.landing import Landing
from ingestion.quota import LIST, STATISTICS, QuotaLedger, quota_day
from ingestion.targets import Kind, Target
from ingestion.youtube import ApiResponse

HORIZONS = (1, 3, 7)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


class SimulatedYouTube:
    """Answers what the collector asks straight from a world; charges as the real client does."""

    def __init__(self, world: World, clock: Clock, charge: Callable[[str, bool], None]) -> None:
        self._world, self._clock, self._charge = world, clock, charge
        self._urgent = False
        self.sent: dict[str, Counter[Any]] = defaultdict(Counter)
        self.looks = 0

    def videos(self, video_ids: Sequence[str]) -> ApiResponse:
        """Answer `videos.list`."""
        return self._counts(LIST, video_ids)

    def statistics(self, video_ids: Sequence[str]) -> ApiResponse:
        """Answer `videos.batchGetStats`."""
        return self._counts(STATISTICS, video_ids)

    def channels(self, channel_ids: Sequence[str]) -> ApiResponse:
        """Answer `channels.list`: how many videos each has."""
        now = self._spend(LIST)
        places = [self._world.channel_index[name] for name in channel_ids]
        counts = [len(self._world.uploads(place, now.timestamp())) for place in places]
        return _answer(
            [
                {"id": name, "statistics": {"videoCount": str(count)}}
                for name, count in zip(channel_ids, counts, strict=True)
            ],
            now,
        )

    def playlist_items(
        self, playlist_id: str, *, page_token: str | None = None, max_results: int = 50
    ) -> ApiResponse:
        """Answer `playlistItems.list`: uploads, the newest first."""
        now, of = self._spend(LIST), self._world.videos
        channel = self._world.channel_index["UC" + playlist_id[2:]]
        first, uploads = int(page_token or 0), self._world.uploads(channel, now.timestamp())
        shown = uploads[first : first + max_results].tolist()
        items = [
            {
                "contentDetails": {
                    "videoId": of.video_ids[v],
                    "videoPublishedAt": _moment(of.published_at[v]).isoformat(),
                }
            }
            for v in shown
        ]
        token = first + max_results if first + max_results < len(uploads) else None
        return _answer(items, now, {"nextPageToken": str(token)} if token else {})

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """Let the requests inside use the units that are kept for labels."""
        self._urgent = True
        try:
            yield
        finally:
            self._urgent = False

    def _counts(self, bucket: str, video_ids: Sequence[str]) -> ApiResponse:
        now = self._spend(bucket)
        time = now.timestamp()
        index = np.array([self._world.video_index[name] for name in video_ids])
        there = self._world.visible(index, time)
        views = self._world.videos.curves.views(there, time).tolist()
        names = [self._world.videos.video_ids[v] for v in there.tolist()]
        self.looks += len(names)
        return _answer(
            [
                {"id": name, "statistics": {"viewCount": str(count)}}
                for name, count in zip(names, views, strict=True)
            ],
            now,
        )

    def _spend(self, bucket: str) -> datetime:
        self._charge(bucket, self._urgent)
        now = self._clock()
        self.sent[bucket][quota_day(now)] += 1
        return now


class MemoryTargets:
    """What `collection_targets` and its leases do, in memory, for one collector."""

    def __init__(self, world: World, forecasts: "Forecasts") -> None:
        self._world = world
        self._forecasts = forecasts
        self.by_id: dict[str, Target] = {}
        self._published: dict[str, list[datetime]] = defaultdict(list)
        # Of videos and of channels by each of their two moments; stale entries are passed over.
        self._queues: dict[tuple[str, str], list[tuple[int, datetime, str]]] = defaultdict(list)

    def add_channels(self, now: datetime) -> None:
        """Begin with all channels of the world, of which nothing is known."""
        names = [channel.channel_id for channel in self._world.channels.each]
        self.save([Target("channel", name, "synthetic", now, now) for name in names])

    def save(self, targets: Iterable[Target], *, only_new: bool = False) -> None:
        """Write targets and let them go."""
        for target in targets:
            known = self.by_id.get(target.target_id)
            if known is not None and only_new:
                continue
            if known is None and target.kind == "video" and target.published_at:
                self._published[str(target.channel_id)].append(target.published_at)
            self.by_id[target.target_id] = target
            if target.gone_at is None:
                self._put(target)

    def due(
        self,
        kind: Kind,
        now: datetime,
        *,
        limit: int,
        until: datetime | None = None,
        by: str = "next_due_at",
    ) -> list[Target]:
        """Take targets that are due until a moment, those with labels first."""
        taken, name = dict[str, Target](), self._moment_of(by)
        for rank in (0, 1) if kind == "video" else (1,):
            queue = self._queues[kind, f"{by}{rank}"]
            while queue and len(taken) < limit and queue[0][1] <= (until or now):
                _, at, target_id = heapq.heappop(queue)
                target = self.by_id[target_id]
                current = name(target) == at and (target.label_due_at is not None) == (rank == 0)
                if current and target.gone_at is None:
                    taken[target_id] = target
        return list(taken.values())

    def release(self, targets: Iterable[Target]) -> None:
        """Let go of targets that were not looked at."""
        for target in targets:
            self._put(self.by_id[target.target_id])

    def schedule_labels(self, now: datetime, until: datetime) -> int:
        """Make videos due where forecasts meet the truth; give how many wait for it today."""
        waiting = 0
        for target_id, labels in self._forecasts.labels_between(now - 6 * _HOUR, until):
            target = self.by_id[target_id]
            if target.gone_at is None and target.label_due_at is None:
                seen, born = target.last_observed_at, target.published_at
                looks = [planner.label_look(at, seen, born) for at in labels]
                first = min((at for at in looks if at is not None), default=None)
                if first is not None and first <= until:
                    due_at = min(first, target.next_due_at)
                    self.save([replace(target, label_due_at=first, next_due_at=due_at)])
            waiting += self.by_id[target_id].label_due_at is not None
        return waiting

    def rhythms(self, channel_ids: Sequence[str]) -> dict[str, list[datetime]]:
        """Give when the latest known videos of channels were published."""
        return {name: sorted(self._published[name])[-10:] for name in channel_ids}

    def known(self, kind: Kind, ids: Iterable[str]) -> set[str]:
        """Tell which ids are targets already."""
        return {name for name in ids if name in self.by_id}

    def purged(self, video_ids: Iterable[str]) -> set[str]:
        """Tell which videos were purged by name: none here."""
        return set()

    def watched(self, now: datetime) -> list[Target]:
        """Give the videos that are still looked at."""
        return [
            t for t in self.by_id.values()
            if t.kind == "video" and t.gone_at is None and t.next_due_at < now + 365 * _DAY
        ]  # fmt: skip

    def _put(self, target: Target) -> None:
        rank = 0 if target.kind == "video" and target.label_due_at is not None else 1
        moments = {"next_due_at": target.next_due_at}
        if target.kind == "channel":
            moments["statistics"] = target.statistics_due_at or datetime.min.replace(tzinfo=UTC)
        for by, at in moments.items():
            heapq.heappush(self._queues[target.kind, f"{by}{rank}"], (rank, at, target.target_id))

    @staticmethod
    def _moment_of(by: str) -> Callable[[Target], datetime]:
        if by == "next_due_at":
            return lambda target: target.next_due_at
        return lambda target: target.statistics_due_at or datetime.min.replace(tzinfo=UTC)


class MemoryCollector(Collector):
    """The collector itself; what it would land and append is only counted."""

    def __init__(
        self,
        engine: Engine,
        youtube: Any,
        clock: Clock,
        ledger: QuotaLedger,
        kept: MemoryTargets,
        forecasts: "Forecasts",
    ) -> None:
        nowhere = Landing("memory://nowhere")
        super().__init__(engine, youtube, nowhere, clock=clock, world="synthetic", ledger=ledger)
        self._leases: Any = kept
        self._kept, self._forecasts = kept, forecasts

    def _due(self, kind: Kind, now: datetime, **wanted: Any) -> list[Target]:
        if "by" in wanted:
            wanted["by"] = "statistics"
        return self._kept.due(kind, now, **wanted)

    def _store(self, answer: ApiResponse) -> str:
        return ""

    def _flush(self) -> None:
        changed, new = self._changed, self._new
        self._stored, self._changed, self._new = [], [], []
        self._kept.save(changed)
        self._kept.save(new, only_new=True)
        self._forecasts.note(t for t in changed if t.kind == "video" and t.missing_checks == 0)


class Forecasts:
    """Forecasts that are asked of watched videos, and the looks around their moments of truth."""

    def __init__(self, world: World, a_day: int, seed: int) -> None:
        self._world, self._a_day = world, a_day
        self._random = np.random.default_rng(seed)
        self._by_hour: dict[int, list[tuple[str, datetime]]] = defaultdict(list)
        self._looks: dict[str, list[datetime]] = {}

    def ask(self, now: datetime, kept: MemoryTargets) -> None:
        """Ask for some of the videos of the last five days, at random moments of a day ahead."""
        young = [t for t in kept.watched(now) if t.last_observed_at and _young(t, now)]
        chosen = self._random.permutation(len(young))[: self._a_day]
        for place, hours in zip(chosen, self._random.uniform(0, 24, len(chosen)), strict=True):
            target, asked_at = young[place], now + hours * _HOUR
            looks = self._looks.setdefault(target.target_id, [])
            if not looks and target.last_observed_at:
                looks.append(target.last_observed_at)
            for days in HORIZONS:
                label = asked_at + days * _DAY
                self._by_hour[_hour(label)].append((target.target_id, label))

    def labels_between(
        self, start: datetime, end: datetime
    ) -> Iterator[tuple[str, list[datetime]]]:
        """Give the videos with labels between two moments, and these."""
        found: dict[str, list[datetime]] = defaultdict(list)
        for hour in range(_hour(start), _hour(end) + 1):
            for target_id, label in self._by_hour.get(hour, ()):
                if start <= label <= end:
                    found[target_id].append(label)
        yield from found.items()

    def note(self, seen: Iterable[Target]) -> None:
        """Note looks at videos of which a forecast was asked."""
        for target in seen:
            looks = self._looks.get(target.target_id)
            if looks is not None and target.last_observed_at:
                looks.append(target.last_observed_at)

    def covered(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Count the labels between two moments at which a count can be read, and all of them.

        Those of videos that are deleted by then are not asked for: nobody can have them.
        """
        there = total = 0
        for target_id, labels in self.labels_between(start, end):
            index = self._world.video_index[target_id]
            born = self._world.videos.published_at[index]
            looks = np.unique([at.timestamp() for at in self._looks[target_id]])
            for label in labels:
                at = label.timestamp()
                if self._world.videos.deleted_at[index] < at + 6 * 3600:
                    continue
                total += 1
                there += _can_be_read(looks, at, at - born)
        return there, total


def _can_be_read(looks: Any, moment: float, age: float) -> bool:
    after = int(np.searchsorted(looks, moment))
    if after in (0, len(looks)):
        return False
    return bool(looks[after] - looks[after - 1] <= max(6 * 3600.0, age / 4))


def _young(target: Target, now: datetime) -> bool:
    return target.published_at is not None and now - target.published_at < 5 * _DAY


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)


def _moment(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)


def _answer(
    items: list[dict[str, Any]], at: datetime, more: dict[str, Any] | None = None
) -> ApiResponse:
    answer = ApiResponse({}, b"", {}, at)
    answer.__dict__["document"] = {"items": items, **(more or {})}
    return answer
