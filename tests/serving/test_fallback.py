import asyncio
import signal
import time

import numpy as np
import pytest

from serving.commands import _replay
from serving.contracts import Forecast, Receipt
from tests.serving.conftest import Store, unique_id
from tests.serving.test_api import problem, when_found
from tests.serving.test_champion import until

pytestmark = pytest.mark.usefixtures("servers")


@pytest.fixture
def filled(own_redis, world):
    """A video in a Redis of the test's own."""
    store = Store(own_redis.url)
    video = unique_id()
    store.put_video(video, f"UC{video}", world)
    store.put_channel(f"UC{video}")
    return video


def ask(client, video):
    started = time.perf_counter()
    response = client.get(f"/v1/videos/{video}/forecast")
    return response, time.perf_counter() - started


def recomputed(settings, forecast_id):
    return asyncio.run(_replay(settings, forecast_id))


def numbers(response):
    return response.json()["metrics"]


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_without_its_store_a_video_is_forecast_from_what_was_read_last(
    open_client, champion, own_redis, filled, fault
):
    with open_client(redis_url=own_redis.url, redis_timeout_seconds=0.1) as client:
        usual, _ = ask(client, filled)
        assert usual.json()["features_from"] == "online_store"
        own_redis.signal(fault)
        # What was held goes on as it was until the silence is noticed.
        until(lambda: ask(client, filled)[0].json()["features_from"] == "recent_features")
        for _ in range(5):
            response, seconds = ask(client, filled)
            assert response.status_code == 200
            assert seconds < 0.5
            answer = Forecast.model_validate_json(response.content)
            assert answer.features_from == "recent_features"
            assert answer.features_read_seconds_ago > 0
            assert answer.degraded_reasons == ["online_store_unavailable", "recent_features"]
            assert numbers(response) == numbers(usual)
        ready = client.get("/readyz")  # it answers what it remembers, as any other server would
        assert ready.status_code == 200
        assert "online store" in ready.json()["notes"][0]
        assert "online_store_circuit_open 1.0" in client.get("/metrics").text
        if fault == signal.SIGKILL:
            own_redis.kill()
            own_redis.start()
        else:
            own_redis.signal(signal.SIGCONT)
        until(lambda: ask(client, filled)[0].json()["features_from"] == "online_store")
        assert "online_store_circuit_open 0.0" in client.get("/metrics").text


def test_what_was_read_for_another_question_is_known_without_the_store_too(
    open_client, champion, own_redis, filled
):
    with open_client(redis_url=own_redis.url, redis_timeout_seconds=0.1) as client:
        assert client.get(f"/v1/videos/{filled}/outlier").status_code == 200
        assert ask(client, filled)[0].json()["features_from"] == "online_store"
        own_redis.kill()
        until(lambda: ask(client, filled)[0].json().get("features_from") == "recent_features")


def test_a_video_that_was_never_read_has_no_forecast_without_the_store(
    open_client, champion, own_redis, filled
):
    with open_client(redis_url=own_redis.url, redis_timeout_seconds=0.1) as client:
        own_redis.kill()
        assert problem(ask(client, filled)[0]) == (503, "features_unavailable")
        assert problem(client.get("/readyz")) == (503, "not_ready")  # it knows of no video at all


def test_only_counts_left_make_a_forecast_by_the_bundles_curves(
    open_client, champion, own_redis, filled, world, settings
):
    other = unique_id()
    Store(own_redis.url).put_video(other, f"UC{filled}", world)
    changes = {"redis_url": own_redis.url, "redis_timeout_seconds": 0.1, "recent_features": 1}
    with open_client(**changes) as client:
        ask(client, filled)
        ask(client, other)  # pushes the vector of the first out, its counts stay
        own_redis.kill()
        response, _ = ask(client, filled)
        answer = Forecast.model_validate_json(response.content)
        assert answer.degraded_reasons == ["online_store_unavailable", "fallback_curves"]
        views = answer.metrics["views"]
        assert views.current == 12345
        # The curve starts at the observation, two hours before.
        elapsed = np.array([1, 7, 30]) + 2 / 24
        expected = 12346 * 10 ** np.interp(elapsed, [0, 1, 40], [0, 0.1, 0.8]) - 1
        assert [ahead.p50 for ahead in views.forecasts] == np.rint(expected).tolist()
        receipt = when_found(client, f"/v1/forecasts/{answer.forecast_id}")
        assert Receipt.model_validate_json(receipt.content).vector["source"] == "fallback_curves"
        assert recomputed(settings, answer.forecast_id).is_identical


def test_a_video_taken_out_of_the_store_is_unknown_and_forgotten(
    open_client, champion, own_redis, filled
):
    import redis

    with open_client(redis_url=own_redis.url, redis_timeout_seconds=0.5) as client:
        assert ask(client, filled)[0].status_code == 200
        with redis.Redis.from_url(own_redis.url) as connection:
            connection.flushall()
        # Redis tells of it at once, but whoever flushed may hear first and ask before the server.
        until(lambda: ask(client, filled)[0].status_code != 200)
        assert problem(ask(client, filled)[0]) == (404, "unknown_video")
        own_redis.kill()
        assert problem(ask(client, filled)[0]) == (503, "features_unavailable")


def test_a_full_store_still_answers(open_client, champion, own_redis, filled):
    import redis

    with redis.Redis.from_url(own_redis.url) as connection:
        connection.config_set("maxmemory", "1")
        connection.config_set("maxmemory-policy", "noeviction")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            connection.set("more", "x")
    with open_client(redis_url=own_redis.url) as client:
        assert ask(client, filled)[0].json()["features_from"] == "online_store"
        assert client.get("/readyz").status_code == 200
