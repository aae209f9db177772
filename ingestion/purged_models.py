"""Which models may have been trained on what is purged, and how much of it they may have seen."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, text

from feature_repo.bundle import CONTRACT_FILE, BundleError, bundle_digest, read_contract

_LOGGED = text("""
    SELECT DISTINCT model_version, model_digest, world FROM forecast_log
    WHERE model_version IS NOT NULL
        AND (CAST(:before AS timestamptz) IS NULL OR world = 'real')
""")
# What goes of a video that is named, or of what was collected before a moment.
_SEEN = text("""
    SELECT count(*) FROM video_snapshots
    WHERE world = :world AND observed_at <= :until AND (
        video_id = :video
        OR (world = 'real' AND ingested_at > observed_at AND observed_at < :before)
    )
""")


def models_that_saw(
    engine: Engine, state_dir: Path, video_id: str | None, before: datetime | None
) -> list[dict[str, Any]]:
    """Name the models that forecast or are kept here, with what they may have been trained on.

    Returns:
        A row per model: `model_version` (null for one that never answered), `model_digest`,
        `world`, `situation` and `trained_until` (null where its bundle is not kept here), and
        `snapshots`, how many of the purged observations were made until then (null with it). A
        model that can have seen none of them is left out.
    """
    bundles = {digest: about for digest, about in _bundles(state_dir)}
    with engine.connect() as connection:
        logged = connection.execute(_LOGGED, {"before": before}).mappings().all()
        found = [{**row, **bundles.pop(row["model_digest"], _unknown(row))} for row in logged]
        found += [
            {"model_version": None, "model_digest": digest, **about}
            for digest, about in sorted(bundles.items())
        ]
        for model in found:
            model["snapshots"] = _seen(connection, model, video_id, before)
    return [model for model in found if model["snapshots"] != 0]


def _unknown(row: Any) -> dict[str, Any]:
    return {"world": row["world"], "situation": None, "trained_until": None}


def _bundles(state_dir: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the bundles below a directory, by the digest that names the model."""
    for path in sorted(state_dir.rglob(CONTRACT_FILE)):
        try:
            contract = read_contract(path.parent)
        except (BundleError, OSError, orjson.JSONDecodeError):
            continue  # no bundle, or half of one: nobody can load it
        about = {
            "world": contract.world,
            "situation": contract.situation,
            "trained_until": contract.trained_until,
        }
        yield bundle_digest(contract), about


def _seen(
    connection: Connection, model: dict[str, Any], video_id: str | None, before: datetime | None
) -> int | None:
    if model["trained_until"] is None:
        return None
    until = datetime.fromisoformat(model["trained_until"])
    until = until.replace(tzinfo=UTC) if until.tzinfo is None else until
    asked = {"world": model["world"], "until": until, "video": video_id, "before": before}
    return int(connection.scalar(_SEEN, asked) or 0)
