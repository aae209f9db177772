"""Deletes what may not be kept, in every store that holds API data, and certifies it."""

import json
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from ingestion.errors import IngestionError
from ingestion.landing import Landing
from ingestion.locks import purging_alone
from ingestion.purged_files import purge_logs, purge_parquet
from ingestion.purged_landing import purge_landing
from ingestion.purged_models import models_that_saw
from ingestion.purged_redis import purge_redis
from ingestion.purged_tables import affected_entities, purge_tables
from ingestion.settings import IngestionSettings

Report = Callable[[str], None]

_GIVE_UP = text("""
    UPDATE collection_targets SET gone_at = :now WHERE kind = 'video' AND target_id = :video
        AND (leased_until IS NULL OR leased_until <= :now)
""")
_LEASED_UNTIL = text("""
    SELECT leased_until FROM collection_targets WHERE kind = 'video' AND target_id = :video
        AND leased_until > :now
""")


class PurgeIncomplete(IngestionError):
    """Something that was to be deleted is still there."""


class VideoInHand(IngestionError):
    """A collector is looking at the video that is to be deleted."""


@dataclass(frozen=True)
class Selection:
    """What is to be deleted: everything about a video, or what was collected before a moment.

    Data of the synthetic world, and what was imported rather than collected, is deleted only with
    a video that is named.
    """

    video_id: str | None = None
    before: datetime | None = None

    def as_json(self) -> dict[str, str | None]:
        """Give it for the certificate."""
        before = None if self.before is None else self.before.isoformat()
        return {"video_id": self.video_id, "collected_before": before}


@dataclass
class Certificate:
    """What was deleted where, counted, and what was still found afterwards (nothing).

    `models` names those that may have seen it, `not_reached` the places that may still hold it.
    """

    purge_id: str
    purged_at: str
    selection: dict[str, str | None]
    is_dry_run: bool
    deleted: dict[str, int] = field(default_factory=dict)
    remaining: dict[str, int] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    not_reached: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give it as it is kept and printed."""
        return dict(vars(self))


@dataclass(frozen=True)
class Stores:
    """Where API data is kept, `extra` directories and what is not reached among them."""

    engine: Engine
    landing: Landing
    redis_url: str | None
    state_dir: Path
    extra: tuple[Path, ...] = ()
    not_reached: tuple[str, ...] = ()


def selection(settings: IngestionSettings, video_id: str | None, now: datetime) -> Selection:
    """Give what is to be deleted; raises IngestionError where nothing says so."""
    if video_id is not None:
        return Selection(video_id=video_id)
    if settings.retention_days is None:
        raise IngestionError(
            "FOREVIEW_RETENTION_DAYS is not set, and no --video is named: set how many days data "
            "of the real API may be kept"
        )
    return Selection(before=now - timedelta(days=settings.retention_days))


def purge(
    stores: Stores,
    chosen: Selection,
    now: datetime,
    *,
    dry_run: bool,
    report: Report = lambda store: None,
) -> Certificate:
    """Delete from every store, look again, and keep the certificate.

    Args:
        stores: Where to look.
        chosen: What to delete.
        now: The clock's moment.
        dry_run: Count only.
        report: Told each store before it is searched.

    Raises:
        PurgeIncomplete: A second look found something; the certificate says where.
        VideoInHand: A collector would bring the video back; nothing is deleted.
    """
    made = Certificate(str(uuid.uuid4()), now.isoformat(), chosen.as_json(), dry_run)
    made.not_reached = list(stores.not_reached)
    # Who saw it, and whose online features go, has to be known before the rows are deleted.
    made.models = models_that_saw(stores.engine, stores.state_dir, chosen.video_id, chosen.before)
    affected = affected_entities(stores.engine, chosen.video_id, chosen.before)
    if dry_run:
        made.deleted = _pass(stores, chosen, affected, True, report)
        return made
    if chosen.video_id is not None:
        _stop_collecting(stores, chosen.video_id, now)
    made.deleted = _pass(stores, chosen, affected, False, report)
    made.remaining = _pass(stores, chosen, affected, True, report)
    _keep(stores, made)
    if any(made.remaining.values()):
        raise PurgeIncomplete(f"not all is deleted: {made.remaining}; run the purge again")
    return made


def _stop_collecting(stores: Stores, video_id: str, now: datetime) -> None:
    """Give the target up before all else, so that no collector takes the video, or finds it anew.

    What a collector has in hand it would write after the purge, under names that are gone.
    """
    asked = {"video": video_id, "now": now}
    with stores.engine.begin() as connection:
        connection.execute(_GIVE_UP, asked)
        leased_until = connection.scalar(_LEASED_UNTIL, asked)
    if leased_until is not None:
        raise VideoInHand(
            f"a collector is looking at {video_id}: purge it again when that has ended, or after "
            f"{leased_until.isoformat()} if it died"
        )


def _pass(
    stores: Stores,
    chosen: Selection,
    affected: dict[str, list[str]],
    dry_run: bool,
    report: Report,
) -> dict[str, int]:
    video_id, before = chosen.video_id, chosen.before
    found: dict[str, int] = {}
    report("landing")
    found["landing"] = purge_landing(
        stores.engine, stores.landing, video_id, before, dry_run=dry_run
    )
    report("files")
    for name, directory in _directories(stores).items():
        found[name] = purge_parquet(directory, video_id, before, dry_run=dry_run)
    found["logs"] = purge_logs(stores.state_dir / "logs", video_id, before, dry_run=dry_run)
    with nullcontext() if dry_run else purging_alone(stores.engine):
        if stores.redis_url is not None:
            report("Redis")
            found["redis"] = purge_redis(stores.redis_url, affected, dry_run=dry_run)
        # Last: a purge that is cut short is done again, and only these rows tell whose online
        # features go. Right after Redis, which a materialization could fill again from them.
        report("PostgreSQL")
        channels = affected["channel_id"]
        return found | purge_tables(stores.engine, video_id, before, channels, dry_run=dry_run)


def _directories(stores: Stores) -> dict[str, Path]:
    """Name the directories that may hold rows as Parquet: exports, artefacts, DVC's data."""
    known = {
        "parquet_export": stores.state_dir / "features",
        "exports": stores.state_dir / "exports",
        "mlflow_artifacts": stores.state_dir / "mlflow-artifacts",
        "bundle_cache": stores.state_dir / "models",
    }
    known |= {f"dvc:{path}": path for path in stores.extra}
    return {name: path for name, path in known.items() if path.is_dir()}


def _keep(stores: Stores, certificate: Certificate) -> None:
    document = json.dumps(certificate.as_json())
    with stores.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO purges (purge_id, purged_at, certificate) VALUES (:i, :at, :doc)"),
            {"i": certificate.purge_id, "at": certificate.purged_at, "doc": document},
        )
    directory = stores.state_dir / "certificates"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"purge-{certificate.purge_id}.json").write_text(document)
