import asyncio
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, text

from ingestion import collect_commands, planner
from ingestion.collecting import (
    EmulatorClock,
    RetentionNotSet,
    collect_due,
    open_client,
    require_retention,
    simulate,
    world_of,
)
from ingestion.collector import Collector
from ingestion.emulator.running import RunningEmulator, running_emulator
from ingestion.emulator.world import World, synthetic_world
from ingestion.intake import Intake
from ingestion.landing import Landing
from ingestion.leasing import LEASE, Leases
from ingestion.purging import Selection, Stores, VideoInHand, purge
from ingestion.quota import QuotaExhausted, QuotaLedger, usage
from ingestion.targets import UnknownTarget, listing, load_targets
from ingestion.warehouse import read_channels, read_metadata, read_snapshots
from ingestion.youtube import GoogleYouTubeClient, RequestRefused
from serving.warehouse import Warehouse

END = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

Opener = Callable[[], Collector]


@pytest.fixture(scope="module")
def world() -> World:
    return synthetic_world(21, days=20, channels=6, end=END)


@pytest.fixture
def emulator(world: World) -> Iterator[RunningEmulator]:
    with running_emulator(world) as running:
        yield running


@pytest.fixture
def open_collector(
    warehouse: Engine, landing: Landing, emulator: RunningEmulator
) -> Iterator[Opener]:
    """Gives collectors that know only what the database knows."""
    clock, endpoint = emulator.now, emulator.address
    with open_client(
        warehouse, clock=clock, world="synthetic", api_key=None, endpoint=endpoint
    ) as client:
        yield lambda: Collector(warehouse, client, landing, clock=clock, world="synthetic")


@pytest.fixture
def collector(open_collector: Opener, world: World) -> Collector:
    opened = open_collector()
    opened.add(c.channel_id for c in world.channels.each)
    return opened


def rows(engine: Engine) -> dict[str, int]:
    tables = ("video_snapshots", "channel_snapshots", "video_metadata", "collection_targets")
    with engine.connect() as connection:
        return {t: connection.scalar(text(f"SELECT count(*) FROM {t}")) for t in tables}


def test_what_is_collected_is_what_was_true_when_it_was_observed(
    collector: Collector, emulator: RunningEmulator, warehouse: Engine, world: World
) -> None:
    report = simulate(collector, emulator, end=world.start + 5 * DAY)
    kept = read_snapshots(warehouse).to_pylist()
    assert len(kept) == report.videos == report.ingested.read - report.channels
    assert report.ingested.quarantined == 0
    for row in kept:
        true = world.true_counts(row["video_id"], row["observed_at"])
        seen = (row["view_count"], row["like_count"], row["comment_count"])
        # Of an announced video there is nothing to view.
        views = None if row["live_broadcast_content"] == "upcoming" else true.views
        assert seen == (views, true.likes, true.comments)
        assert row["observed_at"] <= row["ingested_at"] <= emulator.now()
        assert row["world"] == "synthetic"
    assert {"none", "upcoming"} <= {row["live_broadcast_content"] for row in kept}
    assert read_channels(warehouse).num_rows > len(world.channels.each)
    assert {row["channel_id"] for row in read_metadata(warehouse).to_pylist()} == set(
        world.channel_index
    )


def test_every_answer_is_landed_and_every_unit_is_in_the_ledger(
    open_collector: Opener,
    emulator: RunningEmulator,
    warehouse: Engine,
    landing: Landing,
    world: World,
) -> None:
    first = open_collector()
    first.add([world.channels.each[0].channel_id])
    report = collect_due(first)
    asked = sum(emulator.app.quota.used.values())
    assert len(list(landing.refs())) == asked == report.calls + 1


def test_units_used_equal_units_charged(warehouse: Engine, emulator: RunningEmulator) -> None:
    with open_client(
        warehouse,
        clock=emulator.now,
        world="synthetic",
        api_key=None,
        endpoint=emulator.address,
    ) as client:
        client.videos(["abcdefghijk"])
        client.channels(["UC" + "a" * 22])
    charged = {b.bucket: b.used for b in usage(warehouse, emulator.now())}
    assert charged["list@synthetic"] == sum(emulator.app.quota.used.values()) == 2


def test_collecting_twice_adds_nothing(
    collector: Collector, open_collector: Opener, warehouse: Engine
) -> None:
    collect_due(collector)
    before = rows(warehouse)
    again = collect_due(open_collector())
    assert (again.calls, again.ingested.read) == (0, 0)
    assert rows(warehouse) == before


def test_what_a_dead_process_landed_is_brought_in_and_the_rest_asked_for_again(
    collector: Collector,
    open_collector: Opener,
    warehouse: Engine,
    landing: Landing,
    emulator: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    before = collect_due(collector).videos
    emulator.advance(emulator.now() + DAY)
    monkeypatch.setattr(Intake, "bring_in", die)
    with pytest.raises(KeyboardInterrupt):
        collector.look()
    monkeypatch.undo()
    assert read_snapshots(warehouse).num_rows == before
    landed = len(list(landing.refs()))
    emulator.advance(emulator.now() + HOUR)
    again = open_collector()
    recovered = again.recover()
    report = again.look()
    assert recovered.loaded > 0
    assert recovered.quarantined == recovered.duplicate == 0
    assert landed < len(list(landing.refs()))
    assert read_snapshots(warehouse).num_rows == before + recovered.loaded + report.videos
    assert again.recover().read == 0


def test_views_that_fell_are_kept_and_flagged(landing: Landing, warehouse: Engine) -> None:
    world = synthetic_world(3, days=20, channels=60, end=END)
    of = world.videos
    corrected_at = of.started_at + 3600 * of.curves.corrected_age
    inside = (corrected_at > world.start.timestamp()) & (corrected_at < END.timestamp() - 86400)
    video = int(np.flatnonzero(inside & np.isinf(of.deleted_at) & ~of.lacks_statistics)[0])
    before = datetime.fromtimestamp(corrected_at[video], UTC) - 3 * HOUR
    with (
        running_emulator(world, now=before) as emulator,
        open_client(
            warehouse, clock=emulator.now, world="synthetic", api_key=None,
            endpoint=emulator.address,
        ) as client,
    ):  # fmt: skip
        collector = Collector(warehouse, client, landing, clock=emulator.now, world="synthetic")
        collector.add([of.video_ids[video]])
        report = simulate(collector, emulator, end=before + DAY)
    views = read_snapshots(warehouse)["view_count"].to_pylist()
    assert report.views_fell == sum(b < a for a, b in itertools.pairwise(views)) == 1


def test_new_uploads_are_found_within_a_day(
    collector: Collector, emulator: RunningEmulator, warehouse: Engine, world: World
) -> None:
    simulate(collector, emulator, end=world.start + 12 * DAY)
    earliest, latest = world.start.timestamp(), (emulator.now() - DAY).timestamp()
    published = world.videos.published_at
    new = np.flatnonzero((published > earliest) & (published < latest))
    there = world.visible(new, emulator.now().timestamp())
    known = {t.target_id: t for t in load_targets(warehouse, "synthetic")}
    assert len(there) > 5
    for video in there.tolist():
        target = known[world.videos.video_ids[video]]
        assert target.added_at.timestamp() - published[video] < DAY.total_seconds()


def test_an_upload_older_than_one_added_by_hand_is_found_too(
    collector: Collector, emulator: RunningEmulator, warehouse: Engine, world: World
) -> None:
    collect_due(collector)
    emulator.advance(world.start + 12 * DAY)
    shown = [world.uploads(n, emulator.now().timestamp()) for n in range(len(world.channels.each))]
    published = world.videos.published_at
    both = next(u[:2] for u in shown if published[u[1]] > world.start.timestamp())
    newest, older = (world.videos.video_ids[video] for video in both.tolist())
    collector.add([newest])
    collect_due(collector)
    assert {older, newest} <= {t.target_id for t in load_targets(warehouse, "synthetic")}


def test_a_purged_video_is_not_found_again_unless_somebody_adds_it(
    collector: Collector,
    emulator: RunningEmulator,
    warehouse: Engine,
    world: World,
    landing: Landing,
    tmp_path: Path,
) -> None:
    collect_due(collector)
    shown = [world.uploads(n, emulator.now().timestamp()) for n in range(len(world.channels.each))]
    newest = world.videos.video_ids[int(next(u[0] for u in shown if len(u)))]

    def is_target() -> bool:
        return newest in {t.target_id for t in load_targets(warehouse, "synthetic")}

    assert is_target()
    stores = Stores(warehouse, landing, None, tmp_path)
    purge(stores, Selection(video_id=newest), emulator.now(), dry_run=False)
    emulator.advance(emulator.now() + DAY)
    collect_due(collector)
    assert not is_target()
    collector.add([newest])
    assert is_target()


def test_a_video_is_not_purged_while_a_collector_holds_it(
    collector: Collector, emulator: RunningEmulator, warehouse: Engine, tmp_path: Path
) -> None:
    collect_due(collector)
    held = (
        Leases(warehouse, "synthetic")
        .due("video", emulator.now(), limit=1, until=emulator.now() + 90 * DAY)[0]
        .target_id
    )
    stores = Stores(warehouse, Landing(str(tmp_path / "empty")), None, tmp_path)

    def purge_it(moment: datetime) -> None:
        purge(stores, Selection(video_id=held), moment, dry_run=False)

    before = rows(warehouse)
    with pytest.raises(VideoInHand, match=held):
        purge_it(emulator.now())
    assert rows(warehouse) == before
    purge_it(emulator.now() + LEASE)
    assert held not in {t.target_id for t in load_targets(warehouse, "synthetic")}


def test_the_channel_of_a_handle_tracked_over_rest_is_collected_at_once(
    open_collector: Opener,
    emulator: RunningEmulator,
    warehouse: Engine,
    database_url: str,
    schema: str,
    world: World,
) -> None:
    channel = world.channels.each[0]
    handle, nobodys = channel.handle.lower(), "@nobody.at.all"

    def track(handle: str) -> tuple[bool, dict[str, Any]]:
        rest = Warehouse(database_url, schema)
        return asyncio.run(rest.add_target("handle", handle, "synthetic", emulator.now()))

    assert track(handle)[0]
    assert track(nobodys)[0]
    collect_due(open_collector())
    known = {(t.kind, t.target_id): t for t in load_targets(warehouse, "synthetic")}
    videos = {name for kind, name in known if kind == "video"}
    assert known["handle", handle].channel_id == channel.channel_id
    assert known["channel", channel.channel_id].last_observed_at is not None
    assert videos == {row["video_id"] for row in read_snapshots(warehouse).to_pylist()} != set()
    is_new, row = track(handle)
    assert (is_new, row["last_observed_at"] is None) == (False, False)
    emulator.advance(emulator.now() + 7 * HOUR)
    report = collect_due(open_collector())
    assert report.gone == 1  # nobody's, asked for twice
    is_new, row = track(nobodys)
    assert (is_new, row["last_observed_at"]) == (True, None)


def test_a_handle_that_youtube_refuses_stops_no_collection(
    collector: Collector,
    warehouse: Engine,
    database_url: str,
    schema: str,
    emulator: RunningEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What YouTube refuses is not known of the emulator, so its answer is given in its place."""
    rest = Warehouse(database_url, schema)
    asyncio.run(rest.add_target("handle", "@··", "synthetic", emulator.now()))

    def refuse(_client: GoogleYouTubeClient, handle: str) -> None:
        raise RequestRefused(f"YouTube refused the request with 400: {handle}")

    monkeypatch.setattr(GoogleYouTubeClient, "channel_by_handle", refuse)
    assert collect_due(collector).videos > 0
    emulator.advance(emulator.now() + 7 * HOUR)
    collect_due(collector)
    (handle,) = [t for t in load_targets(warehouse, "synthetic") if t.kind == "handle"]
    assert handle.gone_at is not None


def test_an_old_video_tracked_over_rest_is_looked_at_once_and_left_alone(
    open_collector: Opener,
    emulator: RunningEmulator,
    warehouse: Engine,
    database_url: str,
    schema: str,
    world: World,
) -> None:
    now = emulator.now()
    video = int(world.visible(np.arange(len(world.videos.video_ids)), now.timestamp())[0])
    video_id = world.videos.video_ids[video]
    asyncio.run(Warehouse(database_url, schema).add_target("video", video_id, "synthetic", now))
    collect_due(open_collector())
    (target,) = load_targets(warehouse, "synthetic")
    owner = world.channels.each[world.owner(video, now.timestamp())]
    assert target.channel_id == owner.channel_id
    assert target.published_at is not None
    assert target.published_at.timestamp() == int(world.videos.published_at[video])
    assert target.next_due_at > now + 3650 * DAY


def test_a_video_that_disappears_is_given_up_after_two_checks(
    landing: Landing, world: World, warehouse: Engine
) -> None:
    deleted_at = world.videos.deleted_at
    candidates = np.flatnonzero(
        np.isfinite(deleted_at) & (deleted_at < END.timestamp() - 9 * 86400)
    )
    video = int(candidates[-1])
    video_id = world.videos.video_ids[video]
    before = datetime.fromtimestamp(deleted_at[video], UTC) - HOUR
    with (
        running_emulator(world, now=before) as emulator,
        open_client(
            warehouse,
            clock=emulator.now,
            world="synthetic",
            api_key=None,
            endpoint=emulator.address,
        ) as client,
    ):
        collector = Collector(warehouse, client, landing, clock=emulator.now, world="synthetic")
        collector.add([video_id])
        states = []
        for _ in range(60):
            emulator.advance(emulator.now() + 6 * HOUR)
            collect_due(collector)
            (target,) = load_targets(warehouse, "synthetic")
            states.append((target.missing_checks, target.gone_at is not None))
            if target.gone_at is not None:
                break
    assert (1, False) in states
    assert states[-1] == (2, True)
    assert listing([target])["videos"] == []
    assert read_snapshots(warehouse).num_rows >= 1


def test_a_channel_that_is_not_there_is_given_up_after_two_checks(
    open_collector: Opener,
    emulator: RunningEmulator,
    warehouse: Engine,
    database_url: str,
    schema: str,
    world: World,
) -> None:
    rest, nobody = Warehouse(database_url, schema), "UC" + "a" * 22
    asyncio.run(rest.add_target("channel", nobody, "synthetic", emulator.now()))
    simulate(open_collector(), emulator, end=world.start + 2 * DAY)
    (target,) = load_targets(warehouse, "synthetic")
    assert (target.missing_checks, target.gone_at) == (2, world.start + planner.CHANNEL_EVERY)


def test_used_up_quota_stops_collection_and_keeps_what_is_there(
    emulator: RunningEmulator, warehouse: Engine, landing: Landing, world: World
) -> None:
    ledger = QuotaLedger(warehouse, emulator.now, world="synthetic", limit=6)
    client = GoogleYouTubeClient(
        "key", clock=emulator.now, charge=ledger.charge, endpoint=emulator.address
    )
    with closing(ledger), closing(client):
        collector = Collector(warehouse, client, landing, clock=emulator.now, world="synthetic")
        collector.add(c.channel_id for c in world.channels.each)
        with pytest.raises(QuotaExhausted):
            collect_due(collector)
        assert sum(emulator.app.quota.used.values()) == 6
        emulator.advance(emulator.now() + DAY)
        report = collect_due(
            Collector(warehouse, client, landing, clock=emulator.now, world="synthetic")
        )
    assert report.videos > 0


def test_youtubes_own_refusal_stops_without_a_second_try(
    warehouse: Engine, landing: Landing, world: World
) -> None:
    with (
        running_emulator(world, limits={"list": 3}) as emulator,
        open_client(
            warehouse,
            clock=emulator.now,
            world="synthetic",
            api_key=None,
            endpoint=emulator.address,
        ) as client,
    ):
        collector = Collector(warehouse, client, landing, clock=emulator.now, world="synthetic")
        collector.add(c.channel_id for c in world.channels.each)
        with pytest.raises(QuotaExhausted):
            collect_due(collector)
        assert sum(emulator.app.quota.used.values()) == 3
    (bucket,) = [b for b in usage(warehouse, world.start) if b.bucket == "list@synthetic"]
    assert bucket.used == 4
    assert bucket.refused_at is not None  # no other collector asks again today


def test_an_unknown_target_is_refused_and_nothing_is_added(
    open_collector: Opener, warehouse: Engine, world: World
) -> None:
    with pytest.raises(UnknownTarget, match="abcdefghijk"):
        open_collector().add([world.channels.each[0].channel_id, "abcdefghijk"])
    assert load_targets(warehouse, "synthetic") == []


def test_the_world_is_where_the_data_comes_from(emulator: RunningEmulator) -> None:
    assert world_of(None) == "real"
    assert world_of(emulator.address) == "synthetic"
    assert EmulatorClock(emulator.address).now() == emulator.now()


def test_the_real_api_is_not_collected_without_a_retention() -> None:
    with pytest.raises(RetentionNotSet, match="FOREVIEW_RETENTION_DAYS"):
        require_retention("real", None)
    require_retention("real", 30)
    require_retention("synthetic", None)


def test_the_commands_tell_the_same_story(
    emulator: RunningEmulator,
    database_url: str,
    schema: str,
    world: World,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = {
        "FOREVIEW_DATABASE_URL": database_url,
        "FOREVIEW_DATABASE_SCHEMA": schema,
        "FOREVIEW_LANDING_URL": f"{tmp_path}/landing",
        "FOREVIEW_CLOCK": emulator.address,
        "FOREVIEW_YOUTUBE_ENDPOINT": emulator.address,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def told(*arguments: str) -> dict[str, object]:
        command = getattr(collect_commands, arguments[0])
        outcome = CliRunner().invoke(command, [*arguments[1:], "--json"], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return dict(json.loads(outcome.stdout))

    channel = world.channels.each[0]
    assert told("targets", "add", channel.handle) == {"added": [channel.channel_id]}
    assert told("collect")["videos"] > 0
    assert told("collect", "--advance-to", "+1d")["calls"] > 0
    listed = told("targets", "list")
    assert listed["channels"] == [{"channel_id": channel.channel_id}]
    assert {v["channel_id"] for v in listed["videos"]} == {channel.channel_id}
    found = told("targets", "search", "the", "--channel", channel.channel_id)["results"]
    assert {result["channel_id"] for result in found} <= {channel.channel_id}
    buckets = {b["bucket"]: b for b in told("quota")["buckets"]}
    assert buckets["search@synthetic"]["used"] == 1
    assert buckets["list"]["left"] == 10_000
    assert buckets["list@synthetic"]["used"] > 0


def test_steps_that_would_never_arrive_are_refused() -> None:
    arguments = ["--advance-to", "+1d", "--step-hours", "0"]
    outcome = CliRunner().invoke(collect_commands.collect, arguments)
    assert outcome.exit_code == 2
    assert "'--step-hours'" in outcome.output


@pytest.mark.parametrize(
    "arguments", [["--advance-to", "+1d"], ["--once", "--advance-to", "yesterday"]]
)
def test_collect_used_wrongly_exits_with_2(
    arguments: list[str], database_url: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREVIEW_DATABASE_URL", database_url)
    monkeypatch.setenv("FOREVIEW_DATABASE_SCHEMA", schema)
    monkeypatch.setenv("FOREVIEW_RETENTION_DAYS", "30")
    monkeypatch.setenv("YOUTUBE_API_KEY", "key")
    assert CliRunner().invoke(collect_commands.collect, arguments).exit_code == 2
