import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foreview.jobs import JobFailed, run


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, schema: str) -> None:
    monkeypatch.setenv("FOREVIEW_DATABASE_URL", database_url)
    monkeypatch.setenv("FOREVIEW_DATABASE_SCHEMA", schema)


@pytest.mark.usefixtures("environment")
def test_a_job_gives_the_answer_of_its_command() -> None:
    assert run("targets", "list") == {"videos": [], "channels": []}
    assert run("targets", "list", keep=["videos"]) == {"videos": []}


@pytest.mark.usefixtures("environment")
def test_a_job_that_fails_says_what_its_command_would_have_said() -> None:
    with pytest.raises(JobFailed, match=r"YOUTUBE_API_KEY|FOREVIEW_RETENTION_DAYS"):
        run("collect", "--once")


def test_a_job_whose_command_answers_and_ends_with_1_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOREVIEW_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("FOREVIEW_DATABASE_URL", "")
    with pytest.raises(JobFailed, match="foreview doctor ended with 1"):
        run("doctor")


def test_a_job_that_is_used_wrongly_says_so() -> None:
    with pytest.raises(JobFailed, match="No such command"):
        run("colect")


def test_a_job_that_its_scheduler_gave_up_ends() -> None:
    hangs = "import time; from foreview import jobs; jobs.end_unheard(); print(1, flush=True); "
    command = [sys.executable, "-c", f"{hangs}time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == b"1\n"
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(timeout=1)
        job.stdout.close()
        assert job.wait(timeout=20) == -signal.SIGTERM
