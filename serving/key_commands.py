"""`foreview keys`: who may use the API from beyond this machine."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from serving.api_keys import SCOPES

if TYPE_CHECKING:
    from serving.api_keys import KeyTable


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("forecasts",),
    show_default=True, help="What it opens; may be given several times.",
)  # fmt: skip
@click.option(
    "--days", type=click.IntRange(1, 36_500), help="How long it opens; for ever if not given.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True)
def create(name: str, scopes: tuple[str, ...], days: int | None, *, as_json: bool) -> None:
    """Make a key called NAME and print it, this once: only its hash is kept."""
    table, now = _table(), _now()
    expires_at = now + timedelta(days=days) if days else None
    _tell(name, table.create(name, scopes, now, expires_at), as_json=as_json)


@keys.command()
@click.argument("name")
@click.option(
    "--grace-hours", type=click.FloatRange(0, 876_000), default=24.0, show_default=True,
    help="How long the old key still opens.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True)
def rotate(name: str, grace_hours: float, *, as_json: bool) -> None:
    """Make a new key for NAME and print it; the old one opens a while longer.

    It opens the same for as many days as the old one was made for.
    """
    now = _now()
    secret = _table().rotate(name, now, now + timedelta(hours=grace_hours))
    _tell(name, secret, as_json=as_json)


@keys.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True)
def revoke(name: str, *, as_json: bool) -> None:
    """Close the keys called NAME; servers know within two seconds."""
    import orjson

    count = _table().revoke(name, _now())
    click.echo(orjson.dumps({"name": name, "revoked": count}) if as_json else f"revoked {count}")


@keys.command(name="list")
@click.option("--json", "as_json", is_flag=True)
def list_(*, as_json: bool) -> None:
    """List the keys, without their secrets."""
    import orjson

    now = _now()
    found = _table().read()
    if as_json:
        told = [
            {
                "name": key.name,
                "scopes": key.scopes,
                "created_at": key.created_at,
                "expires_at": key.expires_at,
                "revoked_at": key.revoked_at,
                "valid": key.is_valid(now),
            }
            for key in found
        ]
        click.echo(orjson.dumps({"keys": told}))
        return
    for key in found:
        state = "valid" if key.is_valid(now) else "closed"
        scopes = ",".join(key.scopes)
        click.echo(f"{key.name}\t{state}\t{scopes}\tsince {key.created_at:%Y-%m-%d}")


def _tell(name: str, secret: str, *, as_json: bool) -> None:
    import orjson

    click.echo(orjson.dumps({"name": name, "key": secret}) if as_json else secret)


def _table() -> "KeyTable":
    from serving.api_keys import KeyTable
    from serving.settings import ServingSettings

    settings = ServingSettings()
    return KeyTable(settings.required_database_url, settings.database_schema)


def _now() -> datetime:
    from feature_repo.clock import system_clock

    return system_clock()
