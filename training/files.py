"""Questions and their borders on files: what one stage of a pipeline hands to the next."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.bundle import Column
from training.dataset import TrainingSet
from training.questions import Questions
from training.splits import Borders

BORDERS_FILE = "borders.json"
PARTS = ("drawn", "protocol")


def write_questions(directory: Path, asked: Questions, at: Borders) -> None:
    """Write the questions of a situation; what is the same is the same to the byte."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, part in zip(PARTS, asked, strict=True):
        _write(directory / name, part)
    moments = {name: moment.isoformat() for name, moment in at._asdict().items()}
    (directory / BORDERS_FILE).write_text(json.dumps(moments, indent=1))


def read_questions(directory: Path) -> tuple[Questions, Borders]:
    """Read them back, equal to the bit."""
    stated = json.loads((directory / BORDERS_FILE).read_text())
    at = Borders(**{name: pd.Timestamp(moment) for name, moment in stated.items()})
    return Questions(*(_read(directory / name) for name in PARTS)), at


def _write(directory: Path, part: TrainingSet) -> None:
    directory.mkdir(exist_ok=True)
    np.save(directory / "features.npy", part.features, allow_pickle=False)
    part.rows.to_parquet(directory / "rows.parquet", index=False)
    part.labels.to_parquet(directory / "labels.parquet", index=False)
    pd.DataFrame(part.present).to_parquet(directory / "present.parquet", index=False)
    columns = [column.model_dump() for column in part.columns]
    told = {"situation": part.situation, "columns": columns}
    (directory / "columns.json").write_text(json.dumps(told, indent=1))


def _read(directory: Path) -> TrainingSet:
    told: dict[str, Any] = json.loads((directory / "columns.json").read_text())
    present = pd.read_parquet(directory / "present.parquet")
    return TrainingSet(
        features=np.load(directory / "features.npy", allow_pickle=False),
        columns=tuple(Column.model_validate(column) for column in told["columns"]),
        rows=pd.read_parquet(directory / "rows.parquet"),
        labels=pd.read_parquet(directory / "labels.parquet"),
        present={name: present[name].to_numpy(np.float64) for name in present.columns},
        situation=told["situation"],
    )
