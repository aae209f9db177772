"""Page sizes and page tokens, which are YouTube's: an offset in a small protobuf, in base64."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

from ingestion.emulator.errors import invalid_value

DEFAULT_SIZE, MAX_SIZE = 5, 50
_FORWARD, _BACK = 0, 1


def size(query: Mapping[str, str]) -> int:
    """Read the number of items asked for in a page."""
    text = query.get("maxResults", str(DEFAULT_SIZE))
    if not text.isdigit() or not 0 <= int(text) <= MAX_SIZE:
        raise invalid_value("maxResults", f"'{text}', acceptable values are 0 to {MAX_SIZE}")
    return int(text) or DEFAULT_SIZE


def offset(query: Mapping[str, str]) -> int:
    """Read where the page asked for begins."""
    text = query.get("pageToken")
    if text is None:
        return 0
    try:
        return _decoded(text)
    except (ValueError, IndexError) as error:
        raise invalid_value("pageToken", f"'{text}'", reason="invalidPageToken") from error


def tokens(first: int, page_size: int, total: int) -> dict[str, str]:
    """Give the tokens of the pages after and before this one, where there are any."""
    found = {}
    if first + page_size < total:
        found["nextPageToken"] = _encoded(first + page_size, _FORWARD)
    if first > 0:
        found["prevPageToken"] = _encoded(max(first - page_size, 0), _BACK)
    return found


def _encoded(position: int, direction: int) -> str:
    content = bytes([0x08, *_varint(position), 0x10, direction])
    return urlsafe_b64encode(content).decode().rstrip("=")


def _decoded(token: str) -> int:
    content = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    if content[0] != 0x08 or content[-2] != 0x10:
        raise ValueError(token)
    position = 0
    for shift, byte in enumerate(content[1:-2]):
        position |= (byte & 0x7F) << (7 * shift)
    return position


def _varint(number: int) -> list[int]:
    if number < 0x80:
        return [number]
    return [number & 0x7F | 0x80, *_varint(number >> 7)]
