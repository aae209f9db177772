"""What several commands ask for in the same way."""

from datetime import datetime

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant; raises click.UsageError."""
    from feature_repo.clock import InvalidClock, parse_instant

    try:
        return parse_instant(text)
    except InvalidClock as error:
        raise click.UsageError(f"{text!r} is no instant such as 2026-01-31T12:00:00Z") from error
