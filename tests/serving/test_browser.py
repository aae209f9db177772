"""The pages in a real browser that reaches nothing but this machine."""

import re
import shutil
import subprocess

import pytest


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """Give the function that says what stands on a page once its scripts have run."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (Debian: chromium)")
    profile = tmp_path_factory.mktemp("profile")
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-dev-shm-usage", "--virtual-time-budget=20000", "--dump-dom",
    ]  # fmt: skip

    def shown(address):
        done = subprocess.run(
            [*command, address], capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout

    return shown


def test_the_documentation_lists_every_route_without_internet(client, browse):
    page = browse(f"{client.base_url}/docs")
    listed = set(re.findall(r'data-path="([^"]+)"', page))
    assert listed == set(client.get("/openapi.json").json()["paths"])


def test_the_page_shows_a_videos_forecast(client, browse, video):
    page = browse(f"{client.base_url}/#{video}")
    rows = re.search(r'<tbody id="rows">(.*?)</tbody>', page, re.DOTALL)
    assert rows is not None
    assert rows[1].count("<tr>") >= 2
    assert '<section id="answer" hidden' not in page
    assert re.search(r'<svg id="fan"[^>]*>.*class="median"', page, re.DOTALL)


def test_the_page_says_why_it_has_no_forecast(client, browse):
    page = browse(f"{client.base_url}/#nosuchvideo")
    assert re.search(r'id="message"[^>]*>[^<]*nosuchvideo', page)
