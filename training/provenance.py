"""Where a model came from: the code, the data's version, the environment."""

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# What decides the numbers of a model, given its data and parameters.
PACKAGES = (
    "feast", "lightgbm", "mlflow", "numpy", "onnx", "onnxmltools", "pandas", "pyarrow",
    "scikit-learn", "xgboost",
)  # fmt: skip


def provenance_tags() -> dict[str, str]:
    """Give the commit of the code (`+changes` where files differ from it) and DVC's revision.

    What cannot be told, in an image without git or before `dvc repro`, is left out.
    """
    tags = {}
    if commit := _git("rev-parse", "HEAD"):
        changed = _git("status", "--porcelain", "--untracked-files=no")
        tags["code_version"] = f"{commit}+changes" if changed else commit
    if (lock := ROOT / "dvc.lock").is_file():
        tags["dvc_revision"] = hashlib.sha256(lock.read_bytes()).hexdigest()
    return tags


def environment() -> dict[str, Any]:
    """Give the interpreter, the machine and the versions of what decides a model's numbers."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
