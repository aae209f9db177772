"""The parameters of a request, read as YouTube reads them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from ingestion.emulator.errors import invalid_value, missing
from ingestion.emulator.writing import etag

Query = Mapping[str, str]

MAX_IDS = 50


class Site(Protocol):
    """What an emulator shows: a synthetic world, or what was recorded of the real one."""

    @property
    def world(self) -> str:
        """Name whose data it is: `real` or `synthetic`."""

    @property
    def start(self) -> datetime:
        """Give the first moment it can show."""

    @property
    def end(self) -> datetime:
        """Give the last moment it can show."""

    def settle(self, moment: datetime) -> datetime:
        """Give the moment its clock stands at when asked to go to one."""

    def after(self, moment: datetime) -> datetime:
        """Give the next moment at which there is something new to see."""

    def requests(self, now: datetime) -> list[dict[str, str]]:
        """Give the requests that cover all there is at a moment, where they are known."""

    def answer(self, method: str, query: Query, now: datetime) -> Any:
        """Answer a method of the API; raises ApiError."""


def ids(query: Query, name: str) -> list[str]:
    """Read up to 50 ids, each once."""
    found = [part for part in query.get(name, "").split(",") if part]
    if not found:
        raise missing(name)
    if len(found) > MAX_IDS:
        raise invalid_value(name, f"at most {MAX_IDS} ids in one request")
    return list(dict.fromkeys(found))


def parts(query: Query, known: tuple[str, ...]) -> frozenset[str]:
    """Read which parts of the resources are wanted."""
    wanted = frozenset(part for part in query.get("part", "").split(",") if part)
    if not wanted:
        raise missing("part")
    unknown = wanted - {*known, "id"}
    if unknown:
        raise invalid_value("part", f"'{min(unknown)}'", reason="unknownPart")
    return wanted


def instant(query: Query, name: str) -> float | None:
    """Read an RFC 3339 moment as epoch seconds; null where none is given."""
    text = query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise invalid_value(name, f"'{text}'") from error
    if moment.tzinfo is None:
        raise invalid_value(name, f"'{text}'")
    return moment.timestamp()


def listing(kind: str, items: list[Any], total: int, page_size: int) -> dict[str, Any]:
    """Wrap items as a list response."""
    page = {"totalResults": total, "resultsPerPage": page_size}
    return {
        "kind": kind,
        "etag": etag(kind, [item.get("etag") for item in items]),
        "items": items,
        "pageInfo": page,
    }
