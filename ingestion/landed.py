"""An API answer that is safe in the landing and ready to be read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson

from ingestion.errors import UnreadableFile

VIDEOS, CHANNELS = "youtube#videoListResponse", "youtube#channelListResponse"
STATS = "youtube#batchGetStatsResponse"
# An answer names itself first.
_KIND = re.compile(rb'^\s*\{\s*"kind"\s*:\s*"(youtube#[A-Za-z]+)"')


@dataclass(frozen=True)
class LandedResponse:
    """An API answer that is safe in the landing and ready to be read.

    Attributes:
        raw_ref: Its reference in the landing.
        content: The bytes, as received: an answer of `videos.list`, `videos.batchGetStats` or
            `channels.list`.
        observed_at: When YouTube's counts were read.
        ingested_at: When they reached us; for recorded data, `observed_at`.
        world: `real` or `synthetic`.
    """

    raw_ref: str
    content: bytes
    observed_at: datetime
    ingested_at: datetime
    world: str

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """Give the answer, parsed; raises UnreadableFile where it is none that can be ingested."""
        return require_list(parse_json(self.content))


def kind_of(content: bytes) -> str | None:
    """Tell what a body says it is; null where it is no answer of YouTube's."""
    named = _KIND.match(content)
    if named is not None:
        return named[1].decode()
    try:
        body = parse_json(content)
    except UnreadableFile:
        return None
    kind = body.get("kind") if isinstance(body, Mapping) else None
    return kind if isinstance(kind, str) else None


def parse_json(content: bytes) -> Any:
    """Parse a body; raises UnreadableFile."""
    try:
        return orjson.loads(content)
    except ValueError:
        pass
    try:  # slower, and lets single halves of surrogate pairs pass: items with them are refused
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile("corrupt_file", f"is no JSON: {error}") from error


def require_list(body: Any) -> Mapping[str, Any]:
    """Give a body back if it is an answer that can be ingested; raises UnreadableFile."""
    kind = body.get("kind") if isinstance(body, Mapping) else None
    if kind not in (VIDEOS, STATS, CHANNELS) or not isinstance(body.get("items", []), list):
        raise UnreadableFile(
            "not_a_list_response",
            f"is {kind or 'something else'}, no answer of videos.list, videos.batchGetStats or "
            "channels.list",
        )
    return body
