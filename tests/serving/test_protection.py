import json
import secrets
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta

import httpx
import psycopg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from serving.guard import REFRESH_SECONDS, scope_needed
from serving.key_commands import keys
from tests.reliability.tcp_proxy import HEALTHY, REFUSING, proxied
from tests.serving.conftest import NOW, unique_id
from tests.serving.test_api import problem
from tests.serving.test_champion import until

pytestmark = pytest.mark.usefixtures("servers")


@pytest.fixture
def make_key(settings, monkeypatch):
    for name in ("database_url", "database_schema"):
        monkeypatch.setenv(f"FOREVIEW_{name.upper()}", getattr(settings, name))

    def made(*arguments):
        done = CliRunner().invoke(keys, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return made


@pytest.fixture
def way_to_database(settings):
    """A proxy before PostgreSQL, and the address that leads through it."""
    port = int(conninfo_to_dict(settings.database_url)["port"])
    with proxied(port, seed=1) as proxy:
        ours = int(proxy.address.rpartition(":")[2])
        yield proxy, make_conninfo(settings.database_url, host="127.0.0.1", port=ours)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_beyond_loopback_a_key_with_the_scope_is_needed(open_client, champion, video, make_key):
    key = make_key("create", "reader")["key"]
    path = f"/v1/videos/{video}/forecast"
    with open_client(api_keys="on") as client:
        assert problem(client.get(path)) == (401, "unauthorized")
        assert problem(client.get(path, headers=bearer("fv_wrong"))) == (401, "unauthorized")
        assert client.get(path, headers=bearer(key)).status_code == 200
        refused = client.post("/v1/targets", json={"target": video}, headers=bearer(key))
        assert problem(refused) == (403, "forbidden")
        assert problem(client.get("/metrics")) == (401, "unauthorized")
        for open_to_all in ("/livez", "/readyz", "/", "/openapi.json"):
            assert client.get(open_to_all).status_code == 200
        new = make_key("rotate", "reader", "--grace-hours", "1")["key"]
        until(lambda: client.get(path, headers=bearer(new)).status_code == 200)
        assert client.get(path, headers=bearer(key)).status_code == 200  # for an hour
        assert make_key("revoke", "reader")["revoked"] == 2
        until(lambda: client.get(path, headers=bearer(new)).status_code == 401)
    shown = CliRunner().invoke(keys, ["list", "--json"]).stdout
    assert key not in shown
    assert new not in shown


def test_a_server_that_started_without_its_database_refuses_no_valid_key(
    open_client, champion, video, make_key, way_to_database
):
    key, path = make_key("create", "early")["key"], f"/v1/videos/{video}/forecast"
    proxy, url = way_to_database
    proxy.mode = REFUSING
    with open_client(api_keys="on", database_url=url) as client:
        told = client.get(path, headers=bearer(key))
        assert problem(told) == (503, "keys_unavailable")
        assert told.headers["retry-after"] == "1"
        assert problem(client.get(path)) == (401, "unauthorized")
        unready = client.get("/readyz")
        assert unready.status_code == 503
        assert any("API keys" in reason for reason in unready.json()["reasons"])
        assert client.get("/livez").status_code == 200
        proxy.mode = HEALTHY
        until(lambda: client.get("/readyz").status_code == 200)
        assert client.get(path, headers=bearer(key)).status_code == 200
        assert problem(client.get(path, headers=bearer("fv_wrong"))) == (401, "unauthorized")
        proxy.mode = REFUSING
        time.sleep(REFRESH_SECONDS + 0.5)
        assert client.get(path, headers=bearer(key)).status_code == 200
        assert client.get("/readyz").status_code == 200
    with open_client(api_keys="off", database_url=url) as client:
        assert client.get(path).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_rotating_opens_no_key_that_has_expired(settings, make_key):
    make_key("create", "renewed", "--days", "1")
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(
            f"UPDATE {settings.database_schema}.api_keys SET expires_at = created_at"
            " WHERE name = 'renewed'".encode()
        )
    make_key("create", "renewed")
    make_key("rotate", "renewed", "--grace-hours", "1")
    shown = json.loads(CliRunner().invoke(keys, ["list", "--json"]).stdout)["keys"]
    assert [key["valid"] for key in shown if key["name"] == "renewed"] == [False, True, True]


def test_rotating_makes_no_key_for_ever_of_one_for_some_days(make_key):
    make_key("create", "guest", "--days", "7", "--scope", "drafts")
    make_key("rotate", "guest")
    make_key("rotate", "guest")
    shown = json.loads(CliRunner().invoke(keys, ["list", "--json"]).stdout)["keys"]
    newest = [key for key in shown if key["name"] == "guest"][-1]
    created, expires = (datetime.fromisoformat(newest[at]) for at in ("created_at", "expires_at"))
    assert (expires - created, newest["scopes"]) == (timedelta(days=7), ["drafts"])


def test_every_route_of_the_api_has_a_scope():
    assert scope_needed("GET", "/v1/model") == "forecasts"
    assert scope_needed("POST", "/v1/drafts/compare") == "drafts"
    assert scope_needed("POST", "/v1/targets") == "targets"
    assert scope_needed("GET", "/readyz") is None


def test_keys_are_needed_unless_only_this_machine_can_ask(settings):
    def needs(**changes):
        return settings.model_copy(update=changes).needs_api_keys

    assert not needs(api_host="127.0.0.1")
    assert not needs(api_host="localhost")
    assert needs(api_host="0.0.0.0")
    assert needs(api_host="example.org")
    assert not needs(api_host="0.0.0.0", api_keys="off")


def test_a_rate_limit_is_kept_and_told(open_client, champion, video):
    path = f"/v1/videos/{video}/forecast"
    with open_client(rate_limit="3/minute") as client:
        assert [client.get(path).status_code for _ in range(4)] == [200, 200, 200, 429]
        response = client.get(path)
        assert problem(response) == (429, "too_many_requests")
        assert int(response.headers["retry-after"]) >= 1
        assert client.get("/livez").status_code == 200
    with open_client(rate_limit="5/minute") as client:
        batch = {"video_ids": [video] * 6}
        refused = client.post("/v1/forecasts", json=batch)
        assert problem(refused) == (429, "too_many_requests")
        assert "ask for fewer" in refused.json()["detail"]
        assert "retry-after" not in refused.headers  # it would be refused for ever
        batch = {"video_ids": [video] * 4}
        assert client.post("/v1/forecasts", json=batch).status_code == 200
        later = client.post("/v1/forecasts", json=batch)
        assert problem(later) == (429, "too_many_requests")
        assert int(later.headers["retry-after"]) >= 1


def test_each_video_of_a_channel_counts_against_the_limit(
    open_client, synthetic_champion, settings
):
    channel = f"UC{secrets.token_hex(11)}"
    row = (
        "INSERT INTO video_metadata (video_id, observed_at, ingested_at, world, loaded_at,"
        " channel_id, published_at, title, digest)"
        " VALUES (%s, %s, %s, 'synthetic', %s, %s, %s, 't', 'd')"
    )
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"SET search_path TO {settings.database_schema}".encode())
        for _ in range(4):
            connection.execute(row, [unique_id(), NOW, NOW, NOW, channel, NOW])
    path = f"/v1/channels/{channel}/forecasts"
    with open_client(rate_limit="5/minute", world="synthetic") as client:
        assert client.get(f"{path}?last=2").status_code == 200
        assert problem(client.get(path)) == (429, "too_many_requests")
        assert client.get(f"{path}?last=1").status_code == 200


def test_requests_are_named_and_logged_without_secrets(open_client, champion, video, capfd):
    with open_client(access_log="all") as client:
        named = {"X-Request-Id": "mine-1", "Authorization": "Bearer secret"}
        path = f"/v1/videos/{video}/forecast"
        assert client.get(f"{path}?days=7", headers=named).headers["x-request-id"] == "mine-1"
        made_up = client.get(path, headers={"X-Request-Id": "no\tname"}).headers["x-request-id"]
        assert made_up != "no\tname"
    written = capfd.readouterr().err
    lines = [json.loads(line) for line in written.splitlines() if "serving.access" in line]
    mine = next(line for line in lines if line["request_id"] == "mine-1")
    assert (mine["path"], mine["status"], mine["method"]) == (path, 200, "GET")
    assert "secret" not in written


def test_a_terminated_server_says_so_answers_on_and_ends_well(
    settings, champion, video, monkeypatch
):
    for name, value in settings.model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"FOREVIEW_{name.upper()}", str(value))
    monkeypatch.setenv("FOREVIEW_CLOCK", NOW.isoformat())
    command = [sys.executable, "-c", "from serving.commands import serve; serve()"]
    with subprocess.Popen(
        [*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        address = json.loads(process.stdout.readline())["address"]
        assert httpx.get(f"{address}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{address}/readyz").status_code == 503, 0.8)
        answer = httpx.get(f"{address}/v1/videos/{video}/forecast")
        assert answer.status_code == 200
        assert answer.headers["connection"] == "close"
        asked = time.perf_counter()
        assert process.wait(10) == 0
        assert time.perf_counter() - asked < 8
