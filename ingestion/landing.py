"""The raw landing: every response as received, content-addressed, on a directory or S3."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import orjson
import zstandard
from fsspec.implementations.local import LocalFileSystem

from ingestion.errors import LandingError

FORMAT = "foreview-landing-1"
_SUFFIX = ".zst"
_UNDATED = "imports"
MANIFESTS = "manifests"


# Attempts and seconds: a slow or broken connection is given up soon, and tried again.
_S3_OPTIONS = {
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 20,
        "retries": {"max_attempts": 8, "mode": "standard"},
    }
}


@dataclass(frozen=True)
class LandedBody:
    """A response or file as it was received.

    Attributes:
        raw_ref: Its name in the landing.
        body: The bytes, as received.
        fetched_at: When YouTube answered; null for a file that does not tell.
        world: `real` or `synthetic`.
        request: Method and parameters asked, or the name of the file.
        headers: The answer's headers; empty for a file.
        etag: YouTube's etag of the answer.
    """

    raw_ref: str
    body: bytes
    fetched_at: datetime | None
    world: str
    request: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str | None = None


class Landing:
    """Stores responses under the hash of what they say; nothing stored is ever changed."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        on_s3 = self.url.startswith("s3://")
        # Never a connection that somebody else made for another endpoint.
        options = {**_S3_OPTIONS, "skip_instance_cache": True} if on_s3 else {}
        self._files, self._root = fsspec.url_to_fs(self.url, **options)
        self._failures: tuple[type[Exception], ...] = (OSError, *(_s3_failures() if on_s3 else ()))

    def put(
        self,
        body: bytes,
        *,
        request: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        fetched_at: datetime | None,
        world: str,
    ) -> str:
        """Store a response durably and give its reference; storing it again changes nothing.

        Args:
            body: The bytes as received.
            request: What was asked, without keys or tokens; for a file, `{"file": name}`.
            headers: The answer's headers.
            etag: YouTube's etag of the answer.
            fetched_at: When it was answered; null for a file that does not tell.
            world: `real` or `synthetic`.

        Raises:
            LandingError: The store refused it; nothing of it may be used.
        """
        raw_ref, content = enveloped(
            body, request=request, headers=headers, etag=etag, fetched_at=fetched_at, world=world
        )
        self._write(raw_ref, content)
        return raw_ref

    def put_manifest(self, raw_refs: Sequence[str], ingested_at: datetime, world: str) -> None:
        """Note durably when some responses were ingested: rows are known from then on."""
        told = {"ingested_at": ingested_at.astimezone(UTC).isoformat(), "refs": sorted(raw_refs)}
        content = json.dumps({"format": FORMAT, "world": world, **told}).encode()
        digest = hashlib.sha256(content).hexdigest()
        self._write(f"{MANIFESTS}/{ingested_at.astimezone(UTC):%Y/%m/%d}/{digest}", content)

    def manifests(self) -> Iterator[tuple[datetime, str, list[str]]]:
        """Give each note of an ingestion: when, of which world, which responses; by time."""
        told = [json.loads(_unpacked(self._files.cat_file(path))) for path in self._find(MANIFESTS)]
        for one in sorted(told, key=lambda one: str(one["ingested_at"])):
            yield datetime.fromisoformat(one["ingested_at"]), one["world"], one["refs"]

    def ingestion_times(self) -> dict[str, datetime]:
        """Give when each response was ingested, where that is known; of several times the last."""
        return {ref: moment for moment, _, refs in self.manifests() for ref in refs}

    def get(self, raw_ref: str) -> LandedBody:
        """Read a response back; raises LandingError where there is none or it is damaged."""
        return self.get_each([raw_ref])[0]

    def get_each(self, raw_refs: Sequence[str]) -> list[LandedBody]:
        """Read responses back, in order; from an object store many at once."""
        decompressor = zstandard.ZstdDecompressor()
        return [
            unpack(packed, raw_ref, decompressor)
            for raw_ref, packed in zip(raw_refs, self._read(raw_refs), strict=True)
        ]

    def _read(self, raw_refs: Sequence[str]) -> Iterator[bytes]:
        paths = [self._path(ref) for ref in raw_refs]
        try:
            if isinstance(self._files, LocalFileSystem):
                yield from (Path(path).read_bytes() for path in paths)
            else:
                found = self._files.cat(paths) if paths else {}
                yield from (found[path] for path in paths)
        except self._failures as error:
            asked = raw_refs[0] if len(raw_refs) == 1 else f"one of {len(raw_refs)} answers"
            raise LandingError(f"{asked} is not in the landing at {self.url}: {error}") from error

    def refs(self) -> Iterator[str]:
        """Give the reference of everything stored, by date."""
        for path in self._find(""):
            raw_ref = self._ref(path)
            if not raw_ref.startswith(MANIFESTS):
                yield raw_ref

    def refs_of(self, day: datetime) -> list[str]:
        """Give the references of what was fetched on a day."""
        return [self._ref(path) for path in self._find(f"{day.astimezone(UTC):%Y/%m/%d}")]

    def delete(self, raw_ref: str) -> None:
        """Delete a response for good; one that is not there is no error."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(raw_ref))

    def _find(self, below: str) -> list[str]:
        try:
            found = self._below(f"{self._root}/{below}".rstrip("/"))
            return sorted(path for path in found if path.endswith(_SUFFIX))
        except self._failures as error:
            raise LandingError(f"the raw landing at {self.url} cannot be read: {error}") from error

    def _below(self, top: str) -> Iterable[str]:
        if isinstance(self._files, LocalFileSystem):  # a fifth of the cost: nobody asks for sizes
            walked = os.walk(top, onerror=_unless_missing)
            return (f"{folder}/{name}" for folder, _, names in walked for name in names)
        self._files.invalidate_cache()
        return list(self._files.find(top))

    def _ref(self, path: str) -> str:
        return path[len(self._root) :].lstrip("/").removesuffix(_SUFFIX)

    def _path(self, raw_ref: str) -> str:
        return f"{self._root}/{raw_ref}{_SUFFIX}"

    def _write(self, raw_ref: str, content: bytes) -> None:
        path = self._path(raw_ref)
        try:
            if self._files.exists(path):
                return
            if isinstance(self._files, LocalFileSystem):
                _write_atomically(Path(path), packed(content))
            else:
                # One PUT: whole or not at all; S3 is told to refuse where there is one already.
                self._create(path, packed(content))
        except self._failures as error:
            raise LandingError(
                f"the raw landing at {self.url} cannot be written ({error}): "
                "check FOREVIEW_LANDING_URL, its free space and its rights"
            ) from error

    def _create(self, path: str, content: bytes) -> None:
        try:
            self._files.pipe_file(path, content, mode="create")
        except FileExistsError:
            return
        except OSError as error:
            # AWS names the condition that did not hold; other stores only say that one did not.
            self._files.invalidate_cache(path)
            if error.errno != errno.EINVAL or not self._files.exists(path):
                raise


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _s3_failures() -> tuple[type[Exception], ...]:
    """Name what an S3 that cannot be reached raises, which is no OSError."""
    from botocore.exceptions import BotoCoreError

    return (BotoCoreError,)


def enveloped(
    body: bytes,
    *,
    request: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    etag: str | None = None,
    fetched_at: datetime | None,
    world: str,
) -> tuple[str, bytes]:
    """Give the reference of a response and what is stored of it, not packed yet; see `put`."""
    envelope = {
        "format": FORMAT,
        "fetched_at": None if fetched_at is None else fetched_at.astimezone(UTC).isoformat(),
        "world": world,
        "request": dict(request),
        "headers": dict(headers or {}),
        "etag": etag,
    }
    head = json.dumps(envelope, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    digest = hashlib.sha256(head + body).hexdigest()
    day = _UNDATED if fetched_at is None else f"{fetched_at.astimezone(UTC):%Y/%m/%d}"
    return f"{day}/{digest}", head + body


def packed(content: bytes) -> bytes:
    """Compress what is stored."""
    return bytes(zstandard.ZstdCompressor(level=3).compress(content))


def unpack(
    packed: bytes, raw_ref: str, decompressor: zstandard.ZstdDecompressor | None = None
) -> LandedBody:
    """Open a stored object; raises LandingError unless its content has the hash it is named by."""
    try:
        content = _unpacked(packed, decompressor)
        head, _, body = content.partition(b"\n")
        envelope = orjson.loads(head)
        if envelope["format"] != FORMAT:
            raise KeyError("format")
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise LandingError(f"{raw_ref} is no object of a landing: {error!r}") from error
    if not raw_ref.endswith(hashlib.sha256(content).hexdigest()):
        raise LandingError(f"{raw_ref} is damaged: its content does not have this hash")
    fetched_at = envelope["fetched_at"]
    return LandedBody(
        raw_ref=raw_ref,
        body=body,
        fetched_at=None if fetched_at is None else datetime.fromisoformat(fetched_at),
        world=envelope["world"],
        request=envelope["request"],
        headers=envelope["headers"],
        etag=envelope["etag"],
    )


def _unpacked(packed: bytes, decompressor: zstandard.ZstdDecompressor | None = None) -> bytes:
    # What `packed` made tells its length, so that it comes back in one piece.
    return bytes((decompressor or zstandard.ZstdDecompressor()).decompress(packed))


def _write_atomically(path: Path, content: bytes) -> None:
    """Write through a file beside it, so that a reader or a crash sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
