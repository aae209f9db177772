"""Finds new videos through a channel's uploads playlist, reading no further than it must."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingestion.youtube import ApiResponse

# On first sight a channel's latest uploads give it a track record.
FIRST_SIGHT = 20
_PAGE = 10
_MAX_PAGES = 20

ReadPage = Callable[[str], ApiResponse]
# Tells which ids were found before, also of videos that are gone.
Known = Callable[[Sequence[str]], set[str]]


@dataclass(frozen=True)
class Upload:
    """A video in an uploads playlist."""

    video_id: str
    published_at: datetime


def page_size(*, first_sight: bool) -> int:
    """Give how many uploads to ask for in a page."""
    return FIRST_SIGHT if first_sight else _PAGE


def new_uploads(
    page: ApiResponse, read_page: ReadPage, known: Known, *, first_sight: bool
) -> list[Upload]:
    """Read uploads from the newest on and stop after the first page that holds a known one.

    All that is new on that page is taken: a known video may be newer than unknown ones, where
    somebody added it by hand.

    Args:
        page: The first page.
        read_page: Asks for the page with a token.
        known: Tells which ids were found before.
        first_sight: Whether nothing of the channel was read before: one page is enough then.
    """
    found: list[Upload] = []
    for _ in range(_MAX_PAGES):
        listed = uploads(page.items)
        before = known([upload.video_id for upload in listed])
        found += [upload for upload in listed if upload.video_id not in before]
        token = page.document.get("nextPageToken")
        if token is None or before or first_sight:
            break
        page = read_page(token)
    return found


def uploads(items: list[dict[str, Any]]) -> list[Upload]:
    """Read the items of a page; one without a publication time is private or deleted."""
    details = (item["contentDetails"] for item in items)
    return [
        Upload(part["videoId"], datetime.fromisoformat(part["videoPublishedAt"]))
        for part in details
        if "videoPublishedAt" in part
    ]
