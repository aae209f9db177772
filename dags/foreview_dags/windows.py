"""Cuts a long window into the arguments of commands that each do a part of it; pure."""

from datetime import date, timedelta


def chunk_arguments(command: list[str], start: str, end: str, days: int) -> list[list[str]]:
    """Give `command --start … --end …` for each chunk of [start, end); the last may be shorter.

    Args:
        command: A command that takes `--start` and an exclusive `--end`.
        start: First day, ISO 8601, UTC.
        end: Day after the last.
        days: Length of a chunk.

    Raises:
        ValueError: The window is empty.
    """
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    if first >= last:
        raise ValueError(f"the window is empty: {start} is not before {end}")
    begins = [first + timedelta(days=at) for at in range(0, (last - first).days, days)]
    return [
        [*command, f"--start={begin}", f"--end={min(begin + timedelta(days=days), last)}"]
        for begin in begins
    ]
