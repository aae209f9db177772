import math
import secrets
from contextlib import closing
from datetime import datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner

from feature_repo.clock import fixed_clock
from feature_repo.statuses import age_limit_seconds
from ingestion.quota import QuotaLedger, reset_after
from ingestion.warehouse import open_warehouse
from serving.contracts import (
    DraftComparison,
    DraftForecast,
    Explanation,
    ForecastBatch,
    Outlier,
    Receipt,
    Scorecard,
    Target,
)
from tests.serving.conftest import NOW, unique_id
from tests.serving.test_api import problem, when_found

pytestmark = pytest.mark.usefixtures("servers")


@pytest.fixture(scope="module")
def client(open_client, champion, draft_champion):
    with open_client() as started:
        yield started


@pytest.fixture
def channel(store):
    channel_id = f"UC{secrets.token_hex(11)}"
    store.put_channel(channel_id)
    return channel_id


def draft(channel_id, **changes):
    return {"channel_id": channel_id, "title": "A title", "planned_at": NOW.isoformat()} | changes


def test_an_explanations_terms_sum_to_the_forecast(client, video):
    forecast = client.get(f"/v1/videos/{video}/forecast?days=7").json()
    response = client.get(f"/v1/videos/{video}/explanation?days=7&top=3")
    told = Explanation.model_validate_json(response.content)
    assert sum(term.contribution_log10 for term in told.terms) == pytest.approx(told.log10_p50)
    assert told.p50 == forecast["metrics"]["views"]["forecasts"][0]["p50"]
    assert told.p50 == pytest.approx(10**told.log10_p50 - 1, abs=0.51)
    assert math.prod(term.factor for term in told.terms) == pytest.approx(10**told.log10_p50)
    named = [term.name for term in told.terms]
    assert named[:2] == ["present_count", "usual_growth"]
    assert len(named) == 2 + 3 + 2
    assert all(term.words for term in told.terms)


def test_a_horizon_without_a_forecast_has_no_explanation(client, video):
    response = client.get(f"/v1/videos/{video}/explanation?days=30&metric=comments")
    assert problem(response) == (409, "explanation_unavailable")
    assert problem(client.get("/v1/videos/___________/explanation")) == (404, "unknown_video")


def test_a_video_is_set_beside_its_channels_normal(client, video):
    told = Outlier.model_validate_json(client.get(f"/v1/videos/{video}/outlier").content)
    assert told.views == 12345
    assert told.verdict == "unknown"  # this model does not read the channel's spread


def test_a_channels_record_and_an_unknown_one(client, channel):
    told = client.get(f"/v1/channels/{channel}").json()
    assert told["features"]["channel_early_log10_views"] == 3.5
    assert told["features"]["channel_subscribers"] is None
    assert problem(client.get("/v1/channels/UCnobody")) == (404, "unknown_channel")
    assert problem(client.get("/v1/channels/nobody")) == (422, "invalid_request")


def test_a_channels_latest_videos_are_forecast(client, store, settings, world, channel):
    # The warehouse knows two worlds; the test's own is neither, so that nothing is found.
    assert problem(client.get(f"/v1/channels/{channel}/forecasts")) == (404, "unknown_channel")


def test_latest_videos_come_from_the_warehouse(settings, channel):
    import asyncio

    from serving.warehouse import Warehouse

    video_id = unique_id()
    row = (
        "INSERT INTO video_metadata (video_id, observed_at, ingested_at, world, loaded_at,"
        " channel_id, published_at, title, digest)"
        " VALUES (%s, %s, %s, 'synthetic', %s, %s, %s, 't', 'd')"
    )
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {settings.database_schema}".encode())
        connection.execute(row, [video_id, NOW, NOW, NOW, channel, NOW])
    warehouse = Warehouse(settings.database_url, settings.database_schema)
    assert asyncio.run(warehouse.latest_videos(channel, "synthetic", 5)) == [video_id]
    assert asyncio.run(warehouse.latest_videos(channel, "real", 5)) == []
    assert ForecastBatch(forecasts=[]).forecasts == []


def test_a_draft_is_forecast_and_leaves_a_receipt_that_replays(
    client, channel, draft_champion, settings, monkeypatch
):
    response = client.post("/v1/drafts/forecast", json=draft(channel, days=[1, 7, 30]))
    told = DraftForecast.model_validate_json(response.content)
    assert (told.model_digest, told.tier) == (draft_champion, "1e3")
    first, second, third = told.metrics["views"].forecasts
    assert first.p10 < first.p50 < first.p90
    assert first.p50 <= second.p50
    assert third.reason == "horizon_not_supported"
    receipt = when_found(client, f"/v1/forecasts/{told.forecast_id}")
    logged = Receipt.model_validate_json(receipt.content)
    assert logged.request["draft"]["title"] == "A title"
    status = {feature.name: feature.status for feature in logged.features}
    assert status["duration_seconds"] == "null"
    for name, value in settings.model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"FOREVIEW_{name.upper()}", str(value))
    from serving.commands import replay

    assert CliRunner().invoke(replay, [str(told.forecast_id)]).exit_code == 0


def test_a_draft_of_an_unknown_channel_is_told(client):
    response = client.post("/v1/drafts/forecast", json=draft("UCnobody"))
    assert problem(response) == (404, "unknown_channel")


@pytest.mark.parametrize(
    "change",
    [{"title": ""}, {"title": "x" * 101}, {"planned_at": "2026-03-01T00:00:00"}, {"tags": ["a\nb"]},
     {"duration_seconds": -1}, {"category_id": "music"}, {"more": 1}, {"channel_id": "me"},
     {"planned_at": "9999-12-20T00:00:00Z"}, {"planned_at": "0001-01-01T00:00:00+14:00"},
     {"planned_at": "2004-12-31T23:59:59Z"}, {"planned_at": "2100-01-01T00:00:01Z"}],
)  # fmt: skip
def test_a_draft_that_cannot_be_is_told(client, channel, change):
    response = client.post("/v1/drafts/forecast", json=draft(channel) | change)
    assert problem(response) == (422, "invalid_request")


@pytest.mark.parametrize("planned_at", ["2005-01-01T14:00:00+14:00", "2100-01-01T00:00:00Z"])
def test_a_draft_is_forecast_as_far_as_plans_may_go(client, channel, draft_champion, planned_at):
    response = client.post("/v1/drafts/forecast", json=draft(channel, planned_at=planned_at))
    assert response.status_code == 200
    assert DraftForecast.model_validate_json(response.content).as_of.year in (2005, 2100)


def test_a_draft_of_a_channel_long_unseen_is_labelled_and_reads_none_of_its_features(
    client, store, channel
):
    unseen = f"UC{secrets.token_hex(11)}"
    limit = age_limit_seconds("channel_track_record")
    store.put_channel(unseen, NOW.timestamp() - limit - 60)
    fresh, old = (
        client.post("/v1/drafts/forecast", json=draft(one)).json() for one in (channel, unseen)
    )
    assert (fresh["degraded_reasons"], old["degraded_reasons"]) == ([], ["stale_features"])
    assert set(old["missing_features"]) > set(fresh["missing_features"])


def test_a_draft_planned_beyond_its_channels_age_limit_is_labelled(client, channel):
    limit = timedelta(seconds=age_limit_seconds("channel_track_record"))
    plans = [NOW + limit - timedelta(hours=3), NOW + limit]
    near, far = (
        client.post("/v1/drafts/forecast", json=draft(channel, planned_at=at.isoformat())).json()
        for at in plans
    )
    assert (near["tier"], near["degraded_reasons"]) == ("1e3", [])
    assert (far["tier"], far["degraded_reasons"]) == ("unknown", ["stale_features"])


def test_a_degraded_forecast_is_counted_as_such(client, store, world, video):
    def counted():
        told = client.get("/metrics").text.splitlines()
        return [line for line in told if line.startswith('forecasts_total{outcome="degraded"}')]

    before = counted()
    assert client.get(f"/v1/videos/{video}/forecast").json()["degraded"] is False
    assert counted() == before
    stale = unique_id()
    store.put_video(stale, f"UC{video}", world, observed_at=NOW.timestamp() - 80 * 3600)
    assert client.get(f"/v1/videos/{stale}/forecast").json()["degraded"] is True
    assert counted() != before


def test_variants_are_ranked_or_not_told_apart(client, channel):
    def compare(*titles):
        body = {"channel_id": channel, "variants": [{"title": title} for title in titles]}
        response = client.post("/v1/drafts/compare", json=body)
        return DraftComparison.model_validate_json(response.content)

    clear = compare("Short", "A very long title " * 5)
    assert (clear.can_tell, clear.best) == (True, 1)
    assert [one.variant for one in clear.ranking] == [1, 0]
    alike = compare("Some title", "Other title")
    assert (alike.can_tell, alike.best) == (False, None)
    assert alike.threshold_log10 > 0


def test_a_target_is_tracked_once(open_client, champion, settings):
    video = unique_id()
    with open_client(world="synthetic") as client:
        first = client.post("/v1/targets", json={"target": f"https://youtu.be/{video}?t=3"})
        told = Target.model_validate_json(first.content)
        assert (told.kind, told.target_id, told.is_new) == ("video", video, True)
        assert told.first_forecast_at > NOW
        again = client.post("/v1/targets", json={"target": video}).json()
        assert not again["is_new"]
        for wrong in ("@", "https://example.com/watch?v=" + video, "no id", "http://[x"):
            response = client.post("/v1/targets", json={"target": wrong})
            assert problem(response) == (422, "invalid_target"), wrong


def test_a_handle_waits_to_be_looked_up_and_is_one_whatever_its_spelling(client):
    name = unique_id()
    first = client.post("/v1/targets", json={"target": f"@Ünique.{name}"})
    told = Target.model_validate_json(first.content)
    assert (told.kind, told.target_id, told.is_new) == ("handle", f"@ünique.{name}".lower(), True)
    assert told.first_forecast_at > NOW
    assert "looked up" in told.note
    same = f"https://www.youtube.com/@%C3%BCNIQUE.{name}/videos"
    assert not client.post("/v1/targets", json={"target": same}).json()["is_new"]


def test_a_target_is_of_the_world_that_is_served(open_client, synthetic_champion):
    with open_client(world=None) as client:
        served = client.get("/v1/model").json()["world"]
        told = client.post("/v1/targets", json={"target": unique_id()}).json()
    assert told["world"] == served


def test_a_target_is_promised_no_look_that_the_quota_does_not_allow(client, settings, world):
    def promised():
        told = client.post("/v1/targets", json={"target": unique_id()}).json()
        return datetime.fromisoformat(told["next_look_at"]), "quota" in told["note"]

    engine = open_warehouse(settings.database_url, settings.database_schema)
    clock, renewed = fixed_clock(NOW), reset_after(NOW)
    with closing(QuotaLedger(engine, clock, world="another", limit=1)) as ledger:
        ledger.charge()
    with closing(QuotaLedger(engine, clock, world=world, limit=10, block=1)) as ledger:
        for _ in range(10):
            ledger.charge("search")
        ledger.charge()
        assert promised() == (NOW, False)  # none of what is used up pays for a look at it
        ledger.reserve("list", 9)
        assert promised() == (renewed, True)
        ledger.reserve("list", 0)
        assert promised() == (NOW, False)
        ledger.refused("list")
        assert promised() == (renewed, True)
    engine.dispose()


def test_the_scorecard_is_there_without_scores(client, world):
    told = Scorecard.model_validate_json(client.get("/v1/scorecard").content)
    assert (told.world, told.scores) == (world, [])
