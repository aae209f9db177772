"""The one clock of every entry point: the system's, a fixed instant, or a simulated world's."""

import json
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPException

Clock = Callable[[], datetime]


class InvalidClock(ValueError):
    """The setting FOREVIEW_CLOCK names no clock."""


def open_clock(setting: str) -> Clock:
    """Give the clock that `FOREVIEW_CLOCK` names.

    Args:
        setting: `system`, an ISO 8601 instant with an offset (`2026-02-28T12:00:00Z`), or the
            base address of an emulator (`http://127.0.0.1:8090`), whose world sets the time.

    Returns:
        A function without arguments that gives an aware instant in UTC.

    Raises:
        InvalidClock: The setting is none of these.
    """
    if setting == "system":
        return system_clock
    if setting.startswith("http://"):
        return lambda: _emulator_time(setting)
    return fixed_clock(parse_instant(setting))


def system_clock() -> datetime:
    """Give the present moment in UTC."""
    return datetime.now(UTC)


def fixed_clock(instant: datetime) -> Clock:
    """Give a clock that stands still at `instant`."""
    return lambda: instant


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; one without an offset is refused rather than guessed."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidClock(
            f"FOREVIEW_CLOCK={text!r} is neither 'system', an ISO 8601 instant such as "
            "2026-02-28T12:00:00Z, nor an emulator's http:// address"
        ) from error
    if instant.tzinfo is None:
        raise InvalidClock(f"FOREVIEW_CLOCK={text!r} has no UTC offset: write {text}Z")
    return instant.astimezone(UTC)


def _emulator_time(address: str) -> datetime:
    try:
        with urllib.request.urlopen(f"{address}/emulator/clock", timeout=5) as response:
            return parse_instant(json.load(response)["now"])
    # A half-closed connection, a silent one and an answer of something else are no URLError.
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise InvalidClock(
            f"no emulator answers at {address}: start `foreview emulate` or change FOREVIEW_CLOCK"
        ) from error
