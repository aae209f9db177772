"""Places that may hold purged data and that a purge does not reach: named, not passed over."""

import configparser
import os
from pathlib import Path
from urllib.parse import urlsplit

_FEATURES = "FOREVIEW_FEATURES_URL"
_HERE = {None, "", "localhost", "127.0.0.1", "::1"}


def local_remotes(root: Path) -> list[Path]:
    """Give the DVC remotes of a repository that are directories here."""
    return [path for _, url in _remotes(root) if (path := _directory(root, url)) is not None]


def local_exports() -> list[Path]:
    """Give where features were exported to, beside the usual place, if it is a directory."""
    location = os.environ.get(_FEATURES)
    return [Path(location)] if location and "://" not in location else []


def unreached(root: Path) -> list[str]:
    """Name what a purge run in `root` does not reach, each with what is to be done.

    Weights of models and distributions they are compared with hold no observation of a video by
    itself; the models are listed apart, and end with the next training.
    """
    told = [
        f"DVC remote {name!r} ({url}): push the purged data, then run `dvc gc --cloud --workspace`"
        for name, url in _remotes(root)
        if _directory(root, url) is None
    ]
    exported = os.environ.get(_FEATURES, "")
    if "://" in exported:
        told.append(
            f"features exported to {exported}: `foreview features export {exported}` writes the "
            "days again without what was purged"
        )
    tracking = os.environ.get("FOREVIEW_MLFLOW_TRACKING_URI") or os.environ.get(
        "MLFLOW_TRACKING_URI"
    )
    if tracking and urlsplit(tracking).hostname not in _HERE:
        told.append(
            f"MLflow's artefacts behind {urlsplit(tracking).hostname}: delete the runs of the "
            "models that are listed"
        )
    return [*told, "backups and copies made by others: delete them by their own schedule"]


def _remotes(root: Path) -> list[tuple[str, str]]:
    found = {}
    for name in ("config", "config.local"):
        # DVC writes git's kind of file: sections such as ['remote "storage"'].
        config = configparser.ConfigParser(interpolation=None, strict=False)
        config.read(root / ".dvc" / name, encoding="utf-8")
        for section in config.sections():
            kind, _, quoted = section.strip("'").partition(" ")
            if kind == "remote" and config.has_option(section, "url"):
                found[quoted.strip('"')] = config.get(section, "url")
    return sorted(found.items())


def _directory(root: Path, url: str) -> Path | None:
    if "://" in url:
        return None
    path = Path(url)
    return path if path.is_absolute() else (root / ".dvc" / path)
