import re

import pytest

PAGES = ("/", "/docs", "/web/page.js", "/web/docs.js", "/web/style.css", "/web/icon.svg")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_loads_nothing_from_other_hosts(client, path):
    response = client.get(path)
    assert response.status_code == 200
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", response.text))
    assert addresses <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_whatever_a_page_loads_is_served_here(client, path):
    for address in re.findall(r'(?:src|href)="([^"#]+)"', client.get(path).text):
        assert client.get(address).status_code == 200, address


def test_a_page_has_no_inline_script_or_style(client):
    for path in ("/", "/docs"):
        text = client.get(path).text
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", text)


def test_every_route_is_documented_with_its_problems(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/videos/{video_id}/forecast", "/v1/forecasts", "/v1/forecasts/{forecast_id}",
        "/v1/model", "/v1/videos/{video_id}/explanation", "/v1/videos/{video_id}/outlier",
        "/v1/channels/{channel_id}", "/v1/channels/{channel_id}/forecasts", "/v1/drafts/forecast",
        "/v1/drafts/compare", "/v1/targets", "/v1/scorecard", "/livez", "/readyz", "/metrics",
    }  # fmt: skip
    answers = document["paths"]["/v1/videos/{video_id}/forecast"]["get"]["responses"]
    assert set(answers) == {"200", "401", "403", "404", "409", "422", "429", "503"}
    assert list(answers["404"]["content"]) == ["application/problem+json"]
    assert "ProblemDetails" in document["components"]["schemas"]


def test_a_path_outside_the_pages_is_not_served(client):
    assert client.get("/web/../app.py").status_code == 404
    assert client.get("/web/%2e%2e/app.py").status_code == 404
