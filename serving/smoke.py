"""`foreview smoke`: whether a service that was just deployed does its work, asked from outside."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click
import httpx

# Answers well, though nobody's id.
_NOBODYS_VIDEO = "-" * 11


class Failed(Exception):
    """An answer that a working service would not give; the message says which."""


def check(
    client: httpx.Client, video_ids: Sequence[str], requests: int, slowest_ms: float
) -> Iterator[str]:
    """Ask what a client would ask; give a line for each thing that holds.

    Args:
        client: With the service's address and, where it needs one, a key.
        video_ids: Videos that are forecast there.
        requests: How many forecasts are asked for, one after another, all of which must be right.
        slowest_ms: What one in a hundred of them may take longer than.

    Raises:
        Failed: Something does not hold.
    """
    ready = _get(client, "/readyz")
    yield f"ready with model {ready['model_version']} of the {ready['world']} world"
    model = _get(client, "/v1/model")
    if model["problem"]:
        raise Failed(f"a newer champion is not being served: {model['problem']}")
    yield f"serves {model['name']} {model['version']} by {model['engine']}"
    seconds = []
    for number in range(requests):
        video_id = video_ids[number % len(video_ids)]
        began = time.perf_counter()
        forecast = _get(client, f"/v1/videos/{video_id}/forecast")
        seconds.append(time.perf_counter() - began)
        _judge(forecast, ready["world"])
    slow = sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1] * 1e3
    if slow > slowest_ms:
        raise Failed(f"99 in 100 forecasts took up to {slow:.0f} ms, more than {slowest_ms:g}")
    yield f"{requests} forecasts right, 99 in 100 within {slow:.0f} ms"
    refused = _answer(client, f"/v1/videos/{_NOBODYS_VIDEO}/forecast")
    if refused.status_code != 404 or refused.json().get("code") != "unknown_video":
        raise Failed(f"a video nobody knows is answered {refused.status_code}: {refused.text}")
    yield "a video nobody knows is refused"


def _judge(forecast: dict[str, Any], world: str) -> None:
    video_id = forecast["video_id"]
    if forecast["world"] != world:
        raise Failed(f"{video_id} is forecast by the {forecast['world']} world's data, not {world}")
    # Old data are no fault of the release; anything less than its model and features is.
    reasons = set(forecast["degraded_reasons"]) - {"stale_features", "channel_features_missing"}
    if reasons:
        raise Failed(f"{video_id} is forecast with {', '.join(sorted(reasons))}")
    numbers = [
        (one["p10"], one["p50"], one["p90"])
        for metric in forecast["metrics"].values()
        for one in metric["forecasts"]
        if one["reason"] is None
    ]
    if not numbers:
        raise Failed(f"{video_id} is answered without a number")
    if not all(low <= middle <= high for low, middle, high in numbers):
        raise Failed(f"{video_id} has intervals that are none: {numbers}")


def _get(client: httpx.Client, path: str) -> Any:
    answer = _answer(client, path)
    if not answer.is_success:
        raise Failed(f"{path} is answered {answer.status_code}: {answer.text}")
    return answer.json()


def _answer(client: httpx.Client, path: str) -> httpx.Response:
    try:
        return client.get(path)
    except httpx.HTTPError as error:
        raise Failed(f"{path} is not answered: {error}") from error


@click.command()
@click.argument("url")
@click.argument("video_ids", metavar="VIDEO_ID...", nargs=-1, required=True)
@click.option("--key", envvar="FOREVIEW_SMOKE_KEY", help="Of the API; FOREVIEW_SMOKE_KEY if unset.")
@click.option("--requests", type=click.IntRange(1), default=100, show_default=True)
@click.option("--slowest-ms", type=float, default=500.0, show_default=True, help="Of 99 in 100.")
@click.option("--json", "as_json", is_flag=True)
def smoke(
    url: str,
    video_ids: Sequence[str],
    key: str | None,
    requests: int,
    slowest_ms: float,
    *,
    as_json: bool,
) -> None:
    """Ask the service at URL for forecasts of videos it knows; fail where it does not do its work.

    What `k8s/deploy` goes by: a release that fails here is taken back.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=10) as client:
        held = []
        try:
            for line in check(client, video_ids, requests, slowest_ms):
                held.append(line)
                if not as_json:
                    click.echo(line)
        except Failed as error:
            raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"held": held}))
