"""API keys: made, listed, rotated and revoked in PostgreSQL; only their hashes are kept."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from serving.errors import ServingError

Scope = Literal["forecasts", "drafts", "targets"]
SCOPES: tuple[str, ...] = get_args(Scope)

_PREFIX = "fv_"
_CONNECT_SECONDS = 2


class UnknownKey(ServingError):
    """No key has a name."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret, which nobody can read back."""

    name: str
    digest: bytes
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Tell whether it opens anything now."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def digest_of(secret: str) -> bytes:
    """Give what is kept of a key: a plain hash will do, its secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


class KeyTable:
    """The table api_keys."""

    def __init__(self, url: str, schema: str) -> None:
        self._url, self._schema = url, schema

    def create(
        self, name: str, scopes: Sequence[str], now: datetime, expires_at: datetime | None
    ) -> str:
        """Make a key and give its secret, this once.

        Raises:
            ServingError: A valid key has the name already.
        """
        secret = _PREFIX + secrets.token_urlsafe(32)
        with self._connect() as connection, connection.transaction():
            if any(key.name == name and key.is_valid(now) for key in self._read(connection)):
                raise ServingError(f"a key named {name} is in use: rotate or revoke it")
            self._insert(connection, name, secret, scopes, now, expires_at)
        return secret

    def rotate(self, name: str, now: datetime, old_until: datetime) -> str:
        """Make a new secret for a name; the old ones open until a moment, so that clients can move.

        It opens for as long as the newest of them was made for.

        Raises:
            UnknownKey: No valid key has the name.
        """
        secret = _PREFIX + secrets.token_urlsafe(32)
        with self._connect() as connection, connection.transaction():
            valid = [k for k in self._read(connection) if k.name == name and k.is_valid(now)]
            if not valid:
                raise UnknownKey(f"no key named {name} is in use: `foreview keys list` shows them")
            connection.execute(
                "UPDATE api_keys SET expires_at = least(expires_at, %s)"
                " WHERE name = %s AND revoked_at IS NULL",
                [old_until, name],
            )
            newest = max(valid, key=lambda key: key.created_at)
            until = newest.expires_at and now + (newest.expires_at - newest.created_at)
            self._insert(connection, name, secret, newest.scopes, now, until)
        return secret

    def revoke(self, name: str, now: datetime) -> int:
        """Close a name's keys at once; give how many there were.

        Raises:
            UnknownKey: No key that was not revoked has the name.
        """
        with self._connect() as connection:
            found = connection.execute(
                "UPDATE api_keys SET revoked_at = %s WHERE name = %s AND revoked_at IS NULL",
                [now, name],
            )
        if not found.rowcount:
            raise UnknownKey(f"no key named {name} is in use: `foreview keys list` shows them")
        return found.rowcount

    def read(self) -> list[ApiKey]:
        """Give all keys, oldest first."""
        with self._connect() as connection:
            return self._read(connection)

    def _read(self, connection: psycopg.Connection[Any]) -> list[ApiKey]:
        with connection.cursor(row_factory=class_row(ApiKey)) as cursor:
            return cursor.execute(
                "SELECT name, digest, scopes, created_at, expires_at, revoked_at"
                " FROM api_keys ORDER BY created_at, name"
            ).fetchall()

    def _insert(
        self,
        connection: psycopg.Connection[Any],
        name: str,
        secret: str,
        scopes: Sequence[str],
        now: datetime,
        expires_at: datetime | None,
    ) -> None:
        connection.execute(
            "INSERT INTO api_keys (digest, name, scopes, created_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s)",
            [digest_of(secret), name, list(scopes), now, expires_at],
        )

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(
                self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS
            )
        except psycopg.OperationalError as error:
            raise ServingError(
                f"the database (FOREVIEW_DATABASE_URL) does not answer: {error}"
            ) from error
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema)))
        return connection
