"""The workflows of CI, the Dockerfiles and the shell scripts, checked by their own linters."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DOCKERFILES = [
    ROOT / "serving" / "Dockerfile",
    ROOT / "dags" / "Dockerfile",
    ROOT / "k8s" / "stores.Dockerfile",
]
SCRIPTS = [
    ROOT / "dags" / "airflow.sh",
    ROOT / "dags" / "entrypoint",
    ROOT / "benchmarks" / "regression",
    ROOT / "feature_repo" / "plan",
    *sorted(path for path in (ROOT / "k8s").iterdir() if path.is_file() and not path.suffix),
]
PINNED = re.compile(r"uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def check(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_workflows_follow_githubs_schema() -> None:
    check(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)


def test_compose_follows_its_specification() -> None:
    check(
        BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"
    )


def test_workflows_hold_nothing_that_an_attacker_could_use() -> None:
    check(BIN / "zizmor", "--offline", "--no-progress", "--persona=regular", *WORKFLOWS)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_dockerfiles_are_clean(file: Path) -> None:
    check(BIN / "hadolint", file)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_scripts_are_clean(file: Path) -> None:
    check(BIN / "shellcheck", file)


def test_every_action_is_pinned_by_its_commit() -> None:
    for file in WORKFLOWS:
        used = [line.strip(" -") for line in file.read_text().splitlines() if "uses:" in line]
        assert used
        assert [line for line in used if not PINNED.fullmatch(line)] == []


def test_workflows_run_commands_of_the_makefile_and_no_others() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    ran = set()
    for file in WORKFLOWS:
        jobs = yaml.safe_load(file.read_text())["jobs"]
        for command in (s["run"] for job in jobs.values() for s in job["steps"] if "run" in s):
            make, target, *_ = command.split()
            assert make == "make"
            assert target in targets
            ran.add(target)
    assert {"lint", "test", "test-full", "demo", "bench", "images", "sbom", "publish"} <= ran
    assert {"bench-regression", "repro", "feast-plan", "feast-apply", "pin", "deploy"} <= ran


def test_servers_of_the_matrix_are_the_oldest_and_newest_that_the_readme_names() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    chosen = jobs["test-servers"]["strategy"]["matrix"]["include"]
    readme = (ROOT / "README.md").read_text()
    for name in ("PostgreSQL", "Redis"):
        oldest = re.search(rf"{name} ([\d.]+) or newer", readme)
        assert oldest is not None
        assert chosen[0][name.lower()] == oldest[1]
    assert {one["python"] for one in chosen} == {"3.11", "3.12"}


def test_every_lock_is_scanned_for_known_weaknesses() -> None:
    scan = yaml.safe_load((ROOT / ".github" / "workflows" / "scan.yml").read_text())
    asked = scan["jobs"]["locks"]["steps"][-1]["with"]["scan-args"].split()
    locks = {path for path in (ROOT / "requirements").glob("*.txt") if path.stem != "overrides"}
    assert set(asked) == {f"--lockfile=requirements.txt:requirements/{path.name}" for path in locks}
