import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from feature_repo.bundle import MODEL_FILE
from feature_repo.clock import fixed_clock
from serving.app import run_in_thread
from tests.serving.conftest import NOW, unique_id


@pytest.fixture
def own_settings(settings, own_world, tmp_path):
    return settings.model_copy(update={"world": own_world, "state_dir": tmp_path / "state"})


@pytest.fixture
def own_video(store, own_world):
    video_id = unique_id()
    store.put_video(video_id, f"UC{video_id}", own_world)
    store.put_channel(f"UC{video_id}")
    return video_id


def until(happened, seconds=10.0):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        if happened():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def started(settings):
    return run_in_thread(settings, fixed_clock(NOW))


def test_without_a_champion_it_waits_for_one_and_says_so(own_settings, own_video, publish):
    with started(own_settings) as server, httpx.Client(base_url=server.address) as client:
        assert client.get("/livez").status_code == 200
        for path in ("/readyz", f"/v1/videos/{own_video}/forecast", "/v1/model"):
            response = client.get(path)
            assert response.status_code == 503
            assert "no champion is registered" in response.json()["detail"]
        refused = client.get(f"/v1/videos/{own_video}/forecast").json()
        assert refused["code"] == "model_unavailable"
        assert "foreview train" in refused["detail"]
        digest = publish(1)
        until(lambda: client.get("/readyz").status_code == 200)
        answer = client.get(f"/v1/videos/{own_video}/forecast").json()
        assert answer["model_digest"] == digest


@pytest.mark.parametrize("form", ["run", "artifacts"])
def test_a_champion_is_fetched_whatever_form_its_source_has(own_settings, publish, form):
    digest = publish(1, form=form)
    with started(own_settings) as server:
        assert httpx.get(f"{server.address}/v1/model").json()["digest"] == digest


def test_a_new_champion_takes_over_without_a_failed_or_mixed_answer(
    own_settings, own_video, publish
):
    first = publish(1)
    answers, is_over = [], threading.Event()

    def ask(address):
        with httpx.Client(base_url=address) as client:
            while not is_over.is_set():
                answers.append(client.get(f"/v1/videos/{own_video}/forecast"))

    with started(own_settings) as server:
        asking = threading.Thread(target=ask, args=(server.address,))
        asking.start()
        second = publish(2)
        try:
            until(lambda: httpx.get(f"{server.address}/v1/model").json()["digest"] == second)
            seen = len(answers)
            until(lambda: len(answers) > seen + 5)
        finally:
            is_over.set()
            asking.join()
    assert {answer.status_code for answer in answers} == {200}
    served = [(a.json()["model_version"], a.json()["model_digest"]) for a in answers]
    assert set(served) == {("1", first), ("2", second)}
    assert served == sorted(served)


@pytest.mark.parametrize(
    "fault",
    [{"is_damaged": True}, {"bundle_digest": "0" * 64}, {"world": "real"}, {"schema_hash": "0"}],
)
def test_a_champion_that_is_not_what_it_should_be_is_refused(
    own_settings, own_video, publish, fault
):
    first = publish(1)
    with started(own_settings) as server, httpx.Client(base_url=server.address) as client:
        publish(2, **fault)
        until(lambda: client.get("/v1/model").json()["problem"])
        described = client.get("/v1/model").json()
        assert described["digest"] == first
        assert "refused" in described["problem"]
        assert any("refused" in note for note in client.get("/readyz").json()["notes"])
        assert client.get(f"/v1/videos/{own_video}/forecast").json()["model_digest"] == first
        third = publish(3)
        until(lambda: client.get("/v1/model").json()["digest"] == third)
        assert client.get("/v1/model").json()["problem"] is None


def test_without_a_registry_the_cached_model_serves_and_is_labelled(
    own_settings, own_video, publish
):
    digest = publish(1)
    with started(own_settings):
        pass
    cut_short = own_settings.state_dir / "models" / ("0" * 64)  # a note lost in a power cut
    cut_short.mkdir()
    (cut_short / "version.json").touch()
    away = own_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"})
    with started(away) as server, httpx.Client(base_url=server.address) as client:
        described = client.get("/v1/model").json()
        assert (described["digest"], described["is_confirmed"]) == (digest, False)
        assert "FOREVIEW_MLFLOW_TRACKING_URI" in described["problem"]
        answer = client.get(f"/v1/videos/{own_video}/forecast").json()
        assert answer["degraded_reasons"] == ["model_unconfirmed"]
        assert client.get("/readyz").status_code == 200


def test_without_registry_and_cache_it_starts_and_says_why(own_settings):
    away = own_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"})
    with started(away) as server:
        response = httpx.get(f"{server.address}/readyz")
        assert response.status_code == 503
        assert "FOREVIEW_MLFLOW_TRACKING_URI" in response.json()["detail"]


class Registry(ThreadingHTTPServer):
    """A way to MLflow that answers for some files with a status of its own, or all with a body."""

    def __init__(self, address):
        super().__init__(("127.0.0.1", 0), _Forwarded)
        self.behind = address
        self.failing = {}
        self.instead = None


class _Forwarded(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.instead is not None:
            self._answer(200, self.server.instead)
            return
        path = httpx.URL(self.path).params.get("path", "")
        failing = [code for file, code in self.server.failing.items() if path.endswith(file)]
        answer = None if failing else httpx.get(f"{self.server.behind}{self.path}", timeout=30)
        if answer is None:
            self._answer(failing[0], b"")
        else:
            self._answer(answer.status_code, answer.content)

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def registry_before(address):
    with Registry(address) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server
        finally:
            server.shutdown()
            serving.join()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_file_that_cannot_be_had_now_is_asked_for_again(
    own_settings, publish, mlflow_uri, status
):
    digest = publish(1)
    with registry_before(mlflow_uri) as registry:
        registry.failing = {"native/views.txt": status}
        address = f"http://127.0.0.1:{registry.server_address[1]}"
        through = own_settings.model_copy(update={"mlflow_tracking_uri": address})
        with started(through) as server, httpx.Client(base_url=server.address) as client:
            unready = client.get("/readyz")
            assert unready.status_code == 503
            assert f"native/views.txt: {status}" in unready.json()["detail"]
            registry.failing = {"card.md": 404}
            until(lambda: client.get("/readyz").status_code == 200)
    kept = own_settings.state_dir / "models" / digest
    assert (kept / "native" / "views.txt").is_file()
    assert not (kept / "card.md").exists()


@pytest.mark.parametrize(
    "body",
    [b'{"model_version": {"name": "n", "version": "9"}}', b'{"model_version": "9"}',
     b'{"model_version": {"name": "n", "version": "9", "source": "s", "tags": null}}'],
)  # fmt: skip
def test_the_registry_is_followed_on_after_an_answer_that_is_none_of_its_own(
    own_settings, publish, mlflow_uri, body
):
    publish(1)
    with registry_before(mlflow_uri) as registry:
        address = f"http://127.0.0.1:{registry.server_address[1]}"
        through = own_settings.model_copy(update={"mlflow_tracking_uri": address})
        with started(through) as server, httpx.Client(base_url=server.address) as client:
            registry.instead = body
            until(lambda: client.get("/v1/model").json()["problem"])
            assert "is it an MLflow server?" in client.get("/v1/model").json()["problem"]
            registry.instead = None
            second = publish(2)
            until(lambda: client.get("/v1/model").json()["digest"] == second)


def test_of_the_models_that_were_served_the_last_few_are_kept(own_settings, publish):
    models = own_settings.state_dir / "models"
    digests = [publish(0)]
    with started(own_settings) as server, httpx.Client(base_url=server.address) as client:
        for seed in range(1, 6):
            digests.append(publish(seed))
            until(lambda: client.get("/v1/model").json()["digest"] == digests[-1])
        until(lambda: {one.name for one in models.iterdir()} == set(digests[-3:]))
    away = own_settings.model_copy(update={"mlflow_tracking_uri": "http://127.0.0.1:1"})
    with started(away) as server:
        assert httpx.get(f"{server.address}/v1/model").json()["digest"] == digests[-1]


def test_a_damaged_cache_is_fetched_anew(own_settings, publish):
    digest = publish(1)
    with started(own_settings):
        pass
    (own_settings.state_dir / "models" / digest / MODEL_FILE).write_bytes(b"damage")
    with started(own_settings) as server:
        assert httpx.get(f"{server.address}/v1/model").json()["digest"] == digest


def test_a_champion_is_served_and_followed_although_the_cache_cannot_note_it(
    own_settings, publish, caplog
):
    first = publish(1)
    with started(own_settings) as server, httpx.Client(base_url=server.address) as client:
        note = own_settings.state_dir / "models" / first / "version.json"
        note.unlink()
        note.mkdir()  # no file takes its place, as on a full disk
        second = publish(2)
        until(lambda: client.get("/v1/model").json()["digest"] == second)
        publish(1)
        until(lambda: client.get("/v1/model").json()["digest"] == first)
        third = publish(3)
        until(lambda: client.get("/v1/model").json()["digest"] == third)
        assert client.get("/v1/model").json()["problem"] is None
    assert "the cache cannot note it" in caplog.text


def test_a_champion_of_a_newer_shape_is_refused_and_the_next_one_served(own_settings, publish):
    first = publish(1)
    with started(own_settings) as server, httpx.Client(base_url=server.address) as client:
        publish(2, intervals=b'{"tables": {}, "told_by_a_newer_version": 1}')
        until(lambda: client.get("/v1/model").json()["problem"])
        described = client.get("/v1/model").json()
        assert described["digest"] == first
        assert "refused" in described["problem"]
        third = publish(3)
        until(lambda: client.get("/v1/model").json()["digest"] == third)


def test_an_emulators_clock_is_followed(own_settings, own_video, publish):
    from datetime import timedelta

    publish(1)
    moments = iter(NOW + timedelta(hours=n) for n in range(10_000))
    with (
        run_in_thread(own_settings, lambda: next(moments)) as server,
        httpx.Client(base_url=server.address) as client,
    ):
        path = f"/v1/videos/{own_video}/forecast"
        first = client.get(path).json()["as_of"]
        until(lambda: client.get(path).json()["as_of"] > first)


def test_a_replay_comes_out_the_same_even_with_the_model_from_the_registry(
    own_settings, own_video, publish, monkeypatch
):
    from click.testing import CliRunner

    from serving.commands import forecast, replay

    publish(1)
    for name, value in own_settings.model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"FOREVIEW_{name.upper()}", str(value))
    monkeypatch.setenv("FOREVIEW_CLOCK", NOW.isoformat())
    asked = CliRunner().invoke(forecast, [own_video, "--json", "--days", "1,5,30"])
    assert asked.exit_code == 0, asked.output
    import orjson

    forecast_id = orjson.loads(asked.stdout)["forecasts"][0]["forecast_id"]
    publish(2)
    for _ in range(2):
        replayed = CliRunner().invoke(replay, [forecast_id, "--json"])
        assert replayed.exit_code == 0, replayed.output
        told = orjson.loads(replayed.stdout)
        assert told["identical"]
        assert told["replayed"]["views"]["forecasts"][1]["p50"] > 12345
        shutil.rmtree(own_settings.state_dir / "models", ignore_errors=True)
