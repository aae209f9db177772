"""The README's examples, run as they stand against a live server."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import serving
from tests.serving.conftest import Store, unique_id

pytestmark = pytest.mark.usefixtures("servers")

README = Path(serving.__file__).with_name("README.md")
PROGRAMS = {"sh": ["bash", "-euc"], "python": [sys.executable, "-c"], "js": ["node", "-e"]}
NEEDED = {"sh": "curl", "python": sys.executable, "js": "node"}


def example(language):
    """Give the first example in a language."""
    found = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None, f"the README has no example in {language}"
    return found[1]


def documents(text):
    """Read JSON documents that follow each other."""
    reader, at, found = json.JSONDecoder(), 0, []
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = reader.raw_decode(text, at)
        found.append(document)
    return found


@pytest.fixture(scope="module")
def client(open_client, champion, draft_champion):
    # Both models are registered before the server looks for them.
    with open_client() as started:
        yield started


@pytest.fixture(scope="module")
def tracked(redis_url, world):
    """A video of a channel whose id YouTube could have given."""
    store, video = Store(redis_url), unique_id()
    channel = f"UC{video}{video}"
    store.put_video(video, channel, world)
    store.put_channel(channel)
    yield video, channel
    store.close()


def run(language, client, tracked):
    if shutil.which(NEEDED[language]) is None:
        pytest.skip(f"{NEEDED[language]} is not installed: the {language} example was not run")
    video, channel = tracked
    address = f"{client.base_url.host}:{client.base_url.port}"
    code = example(language).replace("localhost:8080", address)
    code = code.replace("VIDEO_ID", video).replace("CHANNEL_ID", channel)
    done = subprocess.run(
        [*PROGRAMS[language], code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def test_the_curl_examples_answer(client, tracked):
    forecast, explanation, target = run("sh", client, tracked)
    assert set(forecast["metrics"]) == {"views", "likes"}
    assert explanation["horizon_days"] == 7
    assert target["target_id"] == tracked[0]


def test_the_python_example_answers(client, tracked):
    (views,) = run("python", client, tracked)
    assert [ahead["horizon_days"] for ahead in views["forecasts"]] == [1, 7]


def test_the_javascript_example_answers(client, tracked):
    (entry,) = run("js", client, tracked)
    assert entry["video_id"] == tracked[0]
    assert entry["metrics"]["views"]["forecasts"][0]["p50"] is not None
