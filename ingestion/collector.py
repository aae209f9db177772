"""One world's collection: takes what is due, lands every answer, then ingests it with the plan."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from feature_repo.clock import Clock
from ingestion import planner, targets
from ingestion.collect_report import CollectReport
from ingestion.discovery import Upload, new_uploads, page_size
from ingestion.ingesting import IngestCounts, LandedResponse
from ingestion.intake import Intake, Stored
from ingestion.landing import Landing
from ingestion.leasing import Leases
from ingestion.patience import through_outages
from ingestion.quota import LIST, STATISTICS, QuotaLedger, reset_after
from ingestion.sightings import (
    described,
    discovered,
    fell,
    looked_at,
    require_found,
    video_count,
    view_count,
)
from ingestion.targets import Kind, Target
from ingestion.youtube import (
    MAX_IDS,
    ApiResponse,
    PlaylistNotFound,
    RequestRefused,
    YouTubeClient,
)

_LANDING_THREADS = 4
# Targets taken at once: so much is asked again when a collector dies.
_VIDEOS_AT_ONCE, _CHANNELS_AT_ONCE, _UPLOADS_AT_ONCE = 40 * MAX_IDS, 20 * MAX_IDS, 50
_STATISTICS_DUE = "coalesce(statistics_due_at, '-infinity')"

# Called with the videos and channels that were observed, once they are in the warehouse.
Observed = Callable[[set[str], set[str]], None]


class Collector:
    """Collects one world into the warehouse; any number of them may work at the same time.

    A collector takes some targets that are due, asks YouTube, lands every answer, and then appends
    the rows and saves when the targets are due again, in one transaction. Whatever dies in between
    loses nothing: what was landed is brought in by the next collector that starts, what was taken
    is due again when its lease ends.

    Args:
        engine: The warehouse.
        client: YouTube.
        landing: Where every answer is stored before anything reads it.
        clock: The world's clock.
        world: `real` or `synthetic`.
        ledger: Where units are kept for labels; null to keep none.
        after: Told what was observed.
    """

    def __init__(
        self,
        engine: Engine,
        client: YouTubeClient,
        landing: Landing,
        *,
        clock: Clock,
        world: str,
        ledger: QuotaLedger | None = None,
        after: Observed = lambda videos, channels: None,
    ) -> None:
        self._engine = engine
        self._client = client
        self._landing = landing
        self._clock = clock
        self._world = world
        self._ledger = ledger
        self._after = after
        self._leases = Leases(engine, world)
        self._intake = Intake(engine, landing, clock=clock, world=world)
        self._report = CollectReport()
        self._stored: list[Stored] = []
        self._changed: list[Target] = []
        self._new: list[Target] = []

    def add(self, references: Iterable[str]) -> list[Target]:
        """Begin to collect videos and channels, by id, handle or address; once is enough.

        Raises:
            UnknownTarget: One of them names nothing that YouTube knows; nothing is added then.
        """
        asked: dict[str, list[str]] = {"video": [], "channel": [], "handle": []}
        for reference in map(targets.parse_reference, references):
            asked[reference.kind].append(reference.value)
        answers = [self._client.channel_by_handle(handle) for handle in asked["handle"]]
        require_found(asked["handle"], [a.items[0] if a.items else None for a in answers])
        known = {k: self._leases.known(k, asked[k]) for k in ("channel", "video")}
        new = {
            kind: [name for name in dict.fromkeys(asked[kind]) if name not in there]
            for kind, there in known.items()
        }
        answers += [self._client.channels(batch) for batch in planner.batches(new["channel"])]
        answers += [self._client.videos(batch) for batch in planner.batches(new["video"])]
        found = {item["id"]: item for answer in answers for item in answer.items}
        wanted = new["channel"] + new["video"]
        require_found(wanted, map(found.get, wanted))
        added = [target for answer in answers for target in self._added(answer)]
        self._flush()
        return added

    def recover(self) -> IngestCounts:
        """Bring in what a collector that died had landed."""
        return self._intake.recover()

    def look(self) -> CollectReport:
        """Look once at everything that is due, and bring it in.

        Raises:
            QuotaExhausted: The day's units are used up; what was landed before is in.
            YouTubeUnavailable: YouTube does not answer; the same.
            LandingError: An answer could not be stored; those before it are in.
        """
        self._report = CollectReport()
        self._keep_units_for_labels()
        self._look_up_handles()
        self._look_at_videos()
        self._look_at_channels()
        self._read_uploads()
        self._look_at_videos()
        return self._report

    def chart(self, region_code: str) -> CollectReport:
        """Observe a region's most popular videos, once; they do not become targets."""
        self._report = CollectReport()
        self._land(self._client.chart(region_code))
        self._flush()
        return self._report

    def videos_once(self, video_ids: Sequence[str]) -> CollectReport:
        """Observe some videos, once; they do not become targets."""
        self._report = CollectReport()
        self._land(self._client.videos(video_ids))
        self._flush()
        return self._report

    def channels_once(self, channel_ids: Sequence[str]) -> CollectReport:
        """Observe some channels, once; they do not become targets."""
        self._report = CollectReport()
        self._land(self._client.channels(channel_ids))
        self._flush()
        return self._report

    def search(self, query: str, channel_id: str | None = None) -> list[dict[str, Any]]:
        """Search for videos, at a unit of a small bucket of its own; nothing becomes a target.

        Returns:
            The results as YouTube writes them, at most fifty.

        Raises:
            QuotaExhausted: The day's searches are used up.
        """
        self._report = CollectReport()
        answer = self._client.search(query, channel_id=channel_id)
        self._note_stored(self._store(answer))
        self._flush()
        return answer.items

    def targets(self) -> list[Target]:
        """Give everything that is or was collected."""
        return targets.load_targets(self._engine, self._world)

    def _added(self, answer: ApiResponse) -> list[Target]:
        """Land an answer about new targets; its videos are thereby looked at once."""
        added = self._found(answer)
        kept = self._leases.known("channel", [t.target_id for t in added])
        return [target for target in added if target.target_id not in kept]

    def _found(self, answer: ApiResponse) -> list[Target]:
        """Land an answer, and collect what it tells of from now on."""
        self._land(answer)
        found = [looked_at(item, self._world, answer.fetched_at) for item in answer.items]
        self._new += found
        return found

    def _keep_units_for_labels(self) -> None:
        now = self._clock()
        until = reset_after(now)
        waiting = through_outages(lambda: self._leases.schedule_labels(now, until))
        if self._ledger is not None:
            for bucket in (LIST, STATISTICS):
                self._ledger.reserve(bucket, -(-waiting // MAX_IDS))

    def _look_up_handles(self) -> None:
        """Begin to collect the channels whose handles were asked for over REST."""
        now = self._clock()
        while taken := self._due("handle", now, limit=_CHANNELS_AT_ONCE):
            with self._brought_in(taken):
                for handle in taken:
                    channel_id = self._channel_of(handle.target_id)
                    self._keep(planner.handle_looked_up(handle, now, channel_id))

    def _channel_of(self, handle: str) -> str | None:
        try:
            found = self._found(self._client.channel_by_handle(handle))
        except RequestRefused:
            return None  # whatever somebody sent: it must not keep all else from being collected
        return found[0].target_id if found else None

    def _look_at_videos(self) -> None:
        """Ask for the videos that are due, a few thousand at a time."""
        now = self._clock()
        while True:
            taken = self._take_videos(now)
            requests = planner.due(taken, now)
            asked = {name for request in requests for name in request.video_ids}
            by_id = {target.target_id: target for target in taken}
            left = [target for target in taken if target.target_id not in asked]
            with self._brought_in([by_id[name] for name in asked], left):
                self._ask_for_videos(requests, by_id)
            if sum(target.next_due_at <= now for target in taken) < _VIDEOS_AT_ONCE:
                return

    def _take_videos(self, now: datetime) -> list[Target]:
        """Take videos that are due, and with the last of them enough others to fill requests."""
        taken = self._due("video", now, limit=_VIDEOS_AT_ONCE)
        if taken and len(taken) < _VIDEOS_AT_ONCE:
            soon = now + planner.FILL_AHEAD
            taken += self._due("video", now, limit=2 * MAX_IDS, until=soon)
        return taken

    def _ask_for_videos(
        self, requests: Sequence[planner.VideoRequest], by_id: dict[str, Target]
    ) -> None:
        """Ask, storing one answer while the next is asked for."""
        with ThreadPoolExecutor(_LANDING_THREADS) as threads:
            pending = []
            try:
                for request in requests:
                    ask = self._client.videos if request.described else self._client.statistics
                    with self._client.urgent() if request.has_label else nullcontext():
                        answer = ask(request.video_ids)
                    pending.append((request, answer, threads.submit(self._store, answer)))
            finally:
                for request, answer, stored in pending:
                    self._await_ingestion(answer, stored.result())
                    self._note_videos([by_id[name] for name in request.video_ids], answer)

    def _note_videos(self, asked: Sequence[Target], answer: ApiResponse) -> None:
        seen = {item["id"]: item for item in answer.items if "id" in item}
        self._report.videos += len(seen)
        for target in asked:
            item = seen.get(target.target_id)
            if item is None:
                self._keep(planner.missed(target, answer.fetched_at))
            else:
                views = view_count(item)
                self._report.views_fell += fell(target, views)
                self._keep(planner.observed(described(target, item), answer.fetched_at, views))

    def _look_at_channels(self) -> None:
        """Ask for the counts of channels; a changed number of videos makes uploads due."""
        now = self._clock()
        while True:
            taken = self._due("channel", now, limit=_CHANNELS_AT_ONCE, by=_STATISTICS_DUE)
            with self._brought_in(taken):
                for batch in planner.batches([channel.target_id for channel in taken]):
                    answer = self._land(self._client.channels(batch))
                    seen = {item["id"]: item for item in answer.items}
                    self._report.channels += len(seen)
                    for channel in (c for c in taken if c.target_id in set(batch)):
                        self._note_channel(channel, seen.get(channel.target_id), answer.fetched_at)
            if len(taken) < _CHANNELS_AT_ONCE:
                return

    def _note_channel(self, channel: Target, item: dict[str, Any] | None, at: datetime) -> None:
        if item is None:
            self._keep(planner.channel_missed(channel, at))
        else:
            self._keep(planner.channel_observed(channel, at, video_count(item)))

    def _read_uploads(self) -> None:
        """Read the uploads of channels that are due."""
        now = self._clock()
        while True:
            taken = self._due("channel", now, limit=_UPLOADS_AT_ONCE)
            rhythms = self._rhythms(taken)
            with self._brought_in(taken), ThreadPoolExecutor(_LANDING_THREADS) as threads:
                pending = []
                try:
                    for channel in taken:
                        page = self._first_page(channel)
                        stored = None if page is None else threads.submit(self._store, page)
                        pending.append((channel, page, stored))
                finally:
                    for channel, page, stored in pending:
                        if page is not None and stored is not None:
                            self._note_stored(stored.result())
                        self._note_uploads(channel, page, rhythms.get(channel.target_id, []))
            if len(taken) < _UPLOADS_AT_ONCE:
                return

    def _rhythms(self, channels: Sequence[Target]) -> dict[str, list[datetime]]:
        ids = [channel.target_id for channel in channels]
        return through_outages(lambda: self._leases.rhythms(ids))

    def _first_page(self, channel: Target) -> ApiResponse | None:
        size = page_size(first_sight=channel.last_observed_at is None)
        try:
            return self._client.playlist_items(_uploads_playlist(channel), max_results=size)
        except PlaylistNotFound:
            return None  # a channel without uploads; whether it is gone, channels.list tells

    def _note_uploads(
        self, channel: Target, page: ApiResponse | None, published: list[datetime]
    ) -> None:
        now, first, found = self._clock(), channel.last_observed_at is None, list[Upload]()
        if page is not None:
            found = new_uploads(page, self._page_after(channel), self._known, first_sight=first)
        self._new += [discovered(upload, channel, now) for upload in found]
        self._report.discovered += len(found)
        published = [*published, *(upload.published_at for upload in found)]
        self._keep(planner.uploads_read(channel, now, published))

    def _known(self, video_ids: Sequence[str]) -> set[str]:
        """Tell what is not to be discovered: targets, and what was purged, unless by hand."""
        known = through_outages(lambda: self._leases.known("video", video_ids))
        return known | through_outages(lambda: self._leases.purged(video_ids))

    def _page_after(self, channel: Target) -> Callable[[str], ApiResponse]:
        def read_page(token: str) -> ApiResponse:
            playlist, size = _uploads_playlist(channel), page_size(first_sight=False)
            page = self._client.playlist_items(playlist, page_token=token, max_results=size)
            self._note_stored(self._store(page))
            return page

        return read_page

    def _due(self, kind: Kind, now: datetime, **wanted: Any) -> list[Target]:
        return through_outages(lambda: self._leases.due(kind, now, **wanted))

    @contextmanager
    def _brought_in(
        self, taken: Sequence[Target], unasked: Sequence[Target] = ()
    ) -> Iterator[None]:
        """Bring in what was landed inside, also where it ends in an error; let go of the rest."""
        try:
            yield
        finally:
            done = {(target.kind, target.target_id) for target in self._changed}
            try:
                self._flush()
            except BaseException:
                done = set()  # nothing was saved: all of it is due again at once
                raise
            finally:
                rest = [t for t in taken if (t.kind, t.target_id) not in done]
                if rest or unasked:
                    through_outages(lambda: self._leases.release([*rest, *unasked]))

    def _flush(self) -> None:
        """Bring what is landed into the warehouse, with the plan that follows from it."""
        stored, changed, new = self._stored, self._changed, self._new
        self._stored, self._changed, self._new = [], [], []
        if not (stored or changed or new):
            return

        def save(connection: Connection) -> None:
            targets.save_targets(connection, changed)
            targets.add_targets(connection, new)

        self._report.ingested += self._intake.bring_in(stored, save)
        observed = [t for t in (*changed, *new) if t.last_observed_at is not None]
        self._after(
            {t.target_id for t in observed if t.kind == "video"},
            {t.target_id for t in observed if t.kind == "channel"},
        )

    def _land(self, answer: ApiResponse) -> ApiResponse:
        """Store an answer before anything reads it, and put it among those to ingest."""
        self._await_ingestion(answer, self._store(answer))
        return answer

    def _store(self, answer: ApiResponse) -> str:
        return self._landing.put(
            answer.body,
            request=answer.request,
            headers=answer.headers,
            etag=answer.etag,
            fetched_at=answer.fetched_at,
            world=self._world,
        )

    def _note_stored(self, raw_ref: str) -> None:
        self._report.calls += 1
        self._stored.append(Stored(raw_ref))

    def _await_ingestion(self, answer: ApiResponse, raw_ref: str) -> None:
        self._report.calls += 1
        response = LandedResponse(
            raw_ref=raw_ref,
            content=answer.body,
            observed_at=answer.fetched_at,
            ingested_at=self._clock(),
            world=self._world,
        )
        self._stored.append(Stored(raw_ref, response))

    def _keep(self, target: Target) -> None:
        self._report.gone += target.gone_at is not None
        self._changed.append(target)


def _uploads_playlist(channel: Target) -> str:
    return channel.uploads_playlist_id or "UU" + channel.target_id[2:]
