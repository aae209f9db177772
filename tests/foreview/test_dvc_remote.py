"""What `dvc push` keeps on S3, another clone pulls: README's commands, a real server."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.object_stores import seaweedfs

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(sys.executable).parent
BUCKET = "models"

pytestmark = pytest.mark.full


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An S3 with an empty bucket, which the environment leads to."""
    with seaweedfs(tmp_path) as endpoint:
        given = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
        }
        _client(given).create_bucket(Bucket=BUCKET)
        path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
        yield os.environ | given | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def _client(environment: dict[str, str]):
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )


def clone(directory: Path, environment: dict[str, str]) -> Path:
    """Clone the repository, with S3 for its remote as training/README.md says."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git repository")
    run(environment, ROOT, "git", "clone", "--quiet", str(ROOT), str(directory))
    add = ("remote", "add", "--local", "--default", "s3", f"s3://{BUCKET}/dvc")
    run(environment, directory, "dvc", *add)
    return directory


def run(environment: dict[str, str], where: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def contents(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_outputs_pushed_to_s3_are_pulled_by_another_clone_to_the_byte(
    environment: dict[str, str], tmp_path: Path
) -> None:
    here, there = (clone(tmp_path / name, environment) for name in ("here", "there"))
    made = here / "models"
    made.mkdir()
    (made / "model.onnx").write_bytes(bytes(range(256)) * 40)
    (made / "metrics.json").write_text('{"rmse_log10": 0.1}')
    # As a stage's output, but made by hand: training is another test's business.
    run(environment, here, "dvc", "add", "models")
    run(environment, here, "dvc", "push", "models.dvc")
    kept = _client(environment).list_objects_v2(Bucket=BUCKET, Prefix="dvc/")["Contents"]
    assert len(kept) == 3  # two files and the list of them
    assert not (here / ".foreview" / "dvc").exists()

    shutil.copy(here / "models.dvc", there)
    run(environment, there, "dvc", "pull", "models.dvc")
    assert contents(there / "models") == contents(made)
