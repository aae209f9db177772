import io
import json
import logging
import time
from datetime import timedelta

import httpx
import psycopg
import pytest

from feature_repo.statuses import age_limit_seconds
from serving.contracts import Forecast, ForecastBatch, ModelDescription, Receipt
from serving.logs import JsonFormatter
from tests.serving.conftest import HOUR, NOW, free_port, unique_id

pytestmark = pytest.mark.usefixtures("servers")


def problem(response):
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert {"type", "title", "detail", "code"} <= body.keys()
    return response.status_code, body["code"]


def metric(client, series):
    # Counts of one process may run on from an earlier server in it: compare, never expect zero.
    for line in client.get("/metrics").text.splitlines():
        if line.startswith(f"{series} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def test_a_video_is_forecast_by_its_id(client, champion, video, world):
    response = client.get(f"/v1/videos/{video}/forecast?days=7,1,30&metrics=views,comments")
    assert response.status_code == 200
    answer = Forecast.model_validate_json(response.content)
    assert answer.model_dump(include={"video_id", "channel_id", "world", "degraded"}) == {
        "video_id": video, "channel_id": f"UC{video}", "world": world, "degraded": False,
    }  # fmt: skip
    assert answer.as_of == NOW
    assert answer.feature_age_seconds == 2 * HOUR
    assert answer.model_digest == champion
    assert list(answer.metrics) == ["views", "comments"]
    views = answer.metrics["views"]
    assert views.current == 12345
    assert [ahead.horizon_days for ahead in views.forecasts] == [1, 7, 30]
    assert [ahead.at for ahead in views.forecasts] == [NOW + timedelta(days=d) for d in (1, 7, 30)]
    for ahead in views.forecasts:
        assert 12345 <= ahead.p10 <= ahead.p50 <= ahead.p90
    beyond = answer.metrics["comments"].forecasts[2]
    assert (beyond.p50, beyond.reason) == (None, "horizon_not_supported")


def test_a_hidden_count_is_no_number(client, store, world):
    video = unique_id()
    store.put_video(video, "UChidden", world, like_count=None)
    store.put_channel("UChidden")
    answer = Forecast.model_validate_json(client.get(f"/v1/videos/{video}/forecast").content)
    likes = answer.metrics["likes"]
    assert likes.current is None
    assert {(ahead.p50, ahead.reason) for ahead in likes.forecasts} == {(None, "count_hidden")}
    assert answer.metrics["views"].forecasts[0].p50 is not None


def test_what_the_model_lacked_is_named_and_counted(client, store, world):
    video = unique_id()
    before = metric(client, 'forecasts_total{outcome="degraded"}')
    store.put_video(video, "UCmissing", world, views_per_hour_1d=None)
    answer = Forecast.model_validate_json(client.get(f"/v1/videos/{video}/forecast").content)
    assert "views_per_hour_1d" in answer.missing_features
    assert "channel_early_log10_views" in answer.missing_features
    assert answer.degraded_reasons == ["channel_features_missing"]
    assert metric(client, 'online_features_missing_total{feature_view="channel_track_record"}') > 0
    assert metric(client, 'forecasts_total{outcome="degraded"}') == before + 1


def test_old_features_make_a_labelled_forecast(client, store, world):
    video = unique_id()
    store.put_video(video, "UCold", world, observed_at=NOW.timestamp() - 73 * HOUR)
    store.put_channel("UCold")
    answer = Forecast.model_validate_json(client.get(f"/v1/videos/{video}/forecast").content)
    assert answer.degraded_reasons == ["stale_features"]


def test_counts_beyond_their_age_limit_are_not_forecast_from(client, store, world):
    video = unique_id()
    limit = age_limit_seconds("video_performance")
    store.put_video(video, "UColder", world, observed_at=NOW.timestamp() - limit)
    store.put_channel("UColder")
    assert client.get(f"/v1/videos/{video}/forecast").status_code == 200
    store.put_video(video, "UColder", world, observed_at=NOW.timestamp() - limit - 1)
    refused = client.get(f"/v1/videos/{video}/forecast")
    assert problem(refused) == (409, "features_incomplete")
    assert "age limit" in refused.json()["detail"]


def test_no_forecast_is_as_of_a_time_before_its_observation(client, store, world):
    video = unique_id()
    store.put_video(video, "UCahead", world, observed_at=NOW.timestamp() + HOUR)
    store.put_channel("UCahead")
    answer = Forecast.model_validate_json(client.get(f"/v1/videos/{video}/forecast").content)
    assert answer.as_of == answer.observed_at == NOW + timedelta(hours=1)
    assert answer.degraded_reasons == ["clock_behind_data"]


def test_an_unknown_video_is_told_with_the_way_out(client):
    response = client.get("/v1/videos/___________/forecast")
    assert problem(response) == (404, "unknown_video")
    assert "foreview targets add" in response.json()["detail"]
    assert response.json()["track"]["href"] == "/v1/targets"


def test_a_video_with_half_its_rows_is_not_forecast(client, store, world):
    video = unique_id()
    profile = {"video_profile": {"channel_id": "UC", "world": world, "published_at": 1.0}}
    store.put("video_id", video, profile, NOW.timestamp())
    response = client.get(f"/v1/videos/{video}/forecast")
    assert problem(response) == (409, "features_incomplete")
    assert "video_performance" in response.json()["detail"]


def test_a_video_of_another_world_is_not_forecast(client, store):
    video = unique_id()
    store.put_video(video, "UCother", "real")
    response = client.get(f"/v1/videos/{video}/forecast")
    assert problem(response) == (409, "world_mismatch")


@pytest.mark.parametrize("video_id", ["short", "eleven!char", "a" * 12, "%00" * 11, "ａ" * 11, "'"])
def test_a_malformed_id_is_told(client, video_id):
    response = client.get(f"/v1/videos/{video_id}/forecast")
    assert problem(response) == (422, "invalid_video_id")


@pytest.mark.parametrize(
    "query",
    ["days=0", "days=31", "days=1.5", "days=", "days=1,,2", "days=-1", "days=①", "metrics=dislikes",
     "metrics=", "days=" + ",".join(["1"] * 31), "days=" + "1" * 300],
)  # fmt: skip
def test_a_question_that_cannot_be_asked_is_told(client, video, query):
    response = client.get(f"/v1/videos/{video}/forecast?{query}")
    assert problem(response) == (422, "invalid_request")


def test_many_videos_are_forecast_as_each_alone(client, store, world):
    videos = [unique_id() for _ in range(40)]
    for at, video in enumerate(videos):
        store.put_video(video, f"UC{at % 7}", world, view_count=100.0 * at, log10_views=0.1 * at)
        store.put_channel(f"UC{at % 7}")
    asked = [*videos[:20], "malformed", "___________", *videos[20:], videos[0]]
    response = client.post("/v1/forecasts", json={"video_ids": asked, "days": [30, 1]})
    assert response.status_code == 200
    ForecastBatch.model_validate_json(response.content)
    entries = response.json()["forecasts"]
    assert [entry["video_id"] for entry in entries] == asked
    assert entries[20]["error"]["code"] == "invalid_video_id"
    assert entries[21]["error"]["code"] == "unknown_video"
    for entry in entries[:20] + entries[22:]:
        alone = client.get(f"/v1/videos/{entry['video_id']}/forecast?days=1,30").json()
        assert without_id(alone) == without_id(entry)


def test_an_id_that_no_text_can_hold_fails_no_other_id(client, video):
    response = client.post(
        "/v1/forecasts",
        content=f'{{"video_ids": ["{video}", "half \\ud83d"]}}',
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 200
    ForecastBatch.model_validate_json(response.content)
    answered, refused = response.json()["forecasts"]
    assert answered["video_id"] == video
    assert "metrics" in answered
    assert refused["video_id"] == "half \ufffd"
    assert refused["error"]["code"] == "invalid_video_id"


def without_id(answer):
    return {key: value for key, value in answer.items() if key != "forecast_id"}


@pytest.mark.parametrize(
    "body",
    [{}, {"video_ids": []}, {"video_ids": ["a"] * 1001}, {"video_ids": "abc"}, [], None,
     {"video_ids": [1]}, {"video_ids": ["a"], "days": [0]}, {"video_ids": ["a"], "days": []},
     {"video_ids": ["a"], "days": [1.5]}, {"video_ids": ["a"], "more": 1},
     {"video_ids": ["a"], "metrics": ["dislikes"]}],
)  # fmt: skip
def test_a_batch_that_cannot_be_asked_is_told(client, body):
    assert problem(client.post("/v1/forecasts", json=body)) == (422, "invalid_request")


def test_a_body_that_is_no_json_is_told(client):
    response = client.post(
        "/v1/forecasts", content=b"\xff{", headers={"content-type": "application/json"}
    )
    assert problem(response) == (422, "invalid_request")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_body_beyond_the_limit_is_refused(client, is_streamed):
    content = b'{"video_ids": ["' + b"a" * 300_000 + b'"]}'
    sent = iter([content[:1000], content[1000:]]) if is_streamed else content
    assert problem(client.post("/v1/forecasts", content=sent)) == (413, "request_too_large")


def test_routes_that_do_not_exist_are_told(client):
    assert problem(client.get("/v1/nothing")) == (404, "not_found")
    assert problem(client.delete("/v1/forecasts")) == (405, "method_not_allowed")


def test_the_model_is_described(client, champion, world):
    described = ModelDescription.model_validate_json(client.get("/v1/model").content)
    assert (described.digest, described.world) == (champion, world)
    assert described.is_confirmed
    assert described.problem is None


def test_a_forecast_leaves_a_receipt(client, video, champion):
    answer = client.get(f"/v1/videos/{video}/forecast").json()
    address = f"/v1/forecasts/{answer['forecast_id']}"
    receipt = Receipt.model_validate_json(when_found(client, address).content)
    assert receipt.answer == answer
    assert receipt.model_digest == champion
    assert receipt.vector["features"]["log10_views"] == pytest.approx(4.0915)
    assert receipt.feature_times["video_performance"] == NOW - timedelta(hours=2)


def when_found(client, address):
    for _ in range(100):
        response = client.get(address)
        if response.status_code == 200:
            return response
        time.sleep(0.05)
    raise AssertionError(response.text)


def test_a_receipt_that_does_not_exist_is_told(client):
    unknown = "00000000-0000-4000-8000-000000000000"
    assert problem(client.get(f"/v1/forecasts/{unknown}")) == (404, "unknown_forecast")
    assert problem(client.get("/v1/forecasts/nonsense")) == (422, "invalid_request")


def test_a_purged_receipt_is_gone(client, store, world, settings):
    from ingestion.purged_tables import purge_tables
    from ingestion.warehouse import open_warehouse

    video = unique_id()
    store.put_video(video, f"UC{video}", world)
    answer = client.get(f"/v1/videos/{video}/forecast").json()
    address = f"/v1/forecasts/{answer['forecast_id']}"
    when_found(client, address)
    engine = open_warehouse(settings.database_url, settings.database_schema)
    purge_tables(engine, video, None, [], dry_run=False)
    engine.dispose()
    assert problem(client.get(address)) == (410, "forecast_purged")


def test_metrics_have_a_port_of_their_own_where_one_is_set(open_client, champion, video):
    port = free_port()
    with open_client(api_metrics_port=port) as client:
        assert client.get(f"/v1/videos/{video}/forecast").status_code == 200
        told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
        assert 'forecasts_total{outcome="answered"} ' in told
        assert problem(client.get("/metrics")) == (404, "not_found")


def test_queued_forecasts_are_written_when_the_service_stops(
    open_client, champion, video, settings
):
    with open_client() as client:
        ids = [client.get(f"/v1/videos/{video}/forecast").json()["forecast_id"] for _ in range(9)]
    with psycopg.connect(settings.database_url) as connection:
        query = f"SELECT forecast_id::text FROM {settings.database_schema}.forecast_log"
        assert {row[0] for row in connection.execute(query.encode())} >= set(ids)


def test_a_log_that_cannot_be_written_breaks_no_forecast(open_client, champion, video):
    with open_client(database_url="postgresql://nobody@127.0.0.1:1/none") as client:
        for _ in range(3):
            assert client.get(f"/v1/videos/{video}/forecast").status_code == 200
        unknown = "00000000-0000-4000-8000-000000000000"
        response = client.get(f"/v1/forecasts/{unknown}")
        assert problem(response) == (503, "forecast_log_unavailable")
        assert metric(client, "forecast_log_queued") == 3


def test_forecasts_beyond_the_logs_capacity_are_counted_as_lost(open_client, champion, video):
    away = "postgresql://nobody@127.0.0.1:1/none"
    with open_client(database_url=away, forecast_log_capacity=2) as client:
        before = metric(client, "forecast_log_lost_total")
        for _ in range(5):
            assert client.get(f"/v1/videos/{video}/forecast").status_code == 200
        assert metric(client, "forecast_log_lost_total") == before + 3


def test_it_is_ready_with_a_model_and_a_store(client, world):
    assert client.get("/livez").json() == {"alive": True}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["world"] == world
    assert f'world="{world}"' in client.get("/metrics").text


def test_without_a_store_it_says_so_quickly(open_client, champion, video):
    with open_client(redis_url="redis://127.0.0.1:1/0") as client:
        started = time.perf_counter()
        response = client.get(f"/v1/videos/{video}/forecast")
        assert time.perf_counter() - started < 1.0
        assert problem(response) == (503, "features_unavailable")
        assert "FOREVIEW_REDIS_URL" in response.json()["detail"]
        assert problem(client.get("/readyz")) == (503, "not_ready")
        assert client.get("/livez").status_code == 200


def test_a_silent_store_is_given_up_on(open_client, champion, video, silent_port):
    url = f"redis://127.0.0.1:{silent_port}/0"
    with open_client(redis_url=url, redis_timeout_seconds=0.1) as client:
        started = time.perf_counter()
        response = client.get(f"/v1/videos/{video}/forecast")
        assert time.perf_counter() - started < 1.0
        assert problem(response) == (503, "features_unavailable")


@pytest.fixture
def silent_port():
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_every_answer_carries_security_headers(client, video):
    for path in (
        "/",
        "/docs",
        "/v1/nothing",
        f"/v1/videos/{video}/forecast",
        "/v1/videos/x/forecast",
    ):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "access-control-allow-origin" not in headers


@pytest.fixture
def log_lines():
    """What is logged, as it is written, line by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


def test_a_fault_of_ours_leaks_nothing_and_is_found_in_the_log(client, store, world, log_lines):
    video = unique_id()
    store.put_video(video, "UCbroken", world, view_count="a secret where a number belongs")
    response = client.get(f"/v1/videos/{video}/forecast", headers={"X-Request-Id": "mine-500"})
    assert problem(response) == (500, "internal_error")
    assert "secret" not in response.text
    assert response.headers["x-request-id"] == "mine-500"
    assert response.headers["x-content-type-options"] == "nosniff"
    (line,) = log_lines()
    assert (line["request_id"], line["level"]) == ("mine-500", "error")
    assert "LayoutError" in line["exception"]


@pytest.mark.parametrize("broken", ["a text for a number", "a list for a row"])
def test_a_row_that_cannot_be_read_fails_alone(client, store, world, broken):
    """Neither those of its batch nor those asked about at the same moment fail with it."""
    bad, good, channel = unique_id(), [unique_id() for _ in range(9)], f"UC{unique_id()}"
    store.put_channel(channel)
    for video in good:
        store.put_video(video, channel, world)
    if broken == "a list for a row":
        store.put_list("video_id", bad)
    else:
        store.put_video(bad, channel, world, view_count="no number")
    ids = [*good[:5], bad, *good[5:]]
    told = client.post("/v1/forecasts", json={"video_ids": ids, "days": [1]}).json()["forecasts"]
    assert [one["video_id"] for one in told if "metrics" in one] == good
    assert [one["error"]["code"] for one in told if "metrics" not in one] == ["internal_error"]
    for _ in range(4):
        assert problem(client.get(f"/v1/videos/{bad}/forecast")) == (500, "internal_error")
    assert client.get(f"/v1/videos/{good[0]}/forecast").status_code == 200
    fresh = unique_id()
    store.put_video(fresh, channel, world)
    assert client.get(f"/v1/videos/{fresh}/forecast").json()["degraded"] is False
