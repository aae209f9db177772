"""The parameters of training, as params.yaml states them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from training.errors import InvalidParameters

# Of the trees' parameters, what searches and other families start from; LightGBM reads the rest.
READ_OF_TREES = ("n_estimators", "learning_rate", "num_leaves")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SnapshotParams(_Section):
    """The synthetic record that `dvc repro` starts from where none is named."""

    days: int = Field(ge=30)
    channels: int = Field(ge=1)
    end: datetime


class EntityRowParams(_Section):
    """How rows are drawn from the record."""

    stale_share: float = Field(ge=0, le=1)
    stale_hours: float = Field(ge=0)
    labels_per_row: int = Field(ge=1)
    labels_per_draft: int = Field(ge=0)
    min_horizon_days: float = Field(gt=0)


class SplitParams(_Section):
    """How time is divided."""

    test_share: float = Field(ge=0, lt=1)
    most_test_days: float | None = Field(default=None, gt=0)
    calibration_share: float = Field(gt=0, lt=1)


class IntervalParams(_Section):
    """When a horizon or a tier has enough labels."""

    min_labels: int = Field(ge=1)


class RobustnessParams(_Section):
    """The rules by which a window and the columns of a training are chosen."""

    windows_days: tuple[int, ...]
    indifference: float = Field(ge=0)
    most_null_shift: float = Field(gt=0)
    least_labels: int = Field(ge=1)
    window_fits: int = Field(ge=1)
    window_rows: int = Field(ge=100)
    window_trees: dict[str, Any]
    fold_rows: int = Field(ge=100)
    trees: dict[str, Any]


class Params(_Section):
    """Everything that decides a model besides its data."""

    seed: int
    snapshot: SnapshotParams
    entity_rows: EntityRowParams
    split: SplitParams
    intervals: IntervalParams
    robustness: RobustnessParams
    growth_power: float = Field(ge=0)
    lightgbm: dict[str, Any]
    draft: dict[str, Any]

    @field_validator("lightgbm")
    @classmethod
    def _states_what_is_read(cls, trees: dict[str, Any]) -> dict[str, Any]:
        missing = [name for name in READ_OF_TREES if name not in trees]
        if missing:
            raise ValueError(f"{', '.join(missing)} missing")
        return trees

    def trees(self, situation: str) -> dict[str, Any]:
        """Give the parameters of the trees of a situation: a draft's override the others."""
        return self.lightgbm | (self.draft if situation == "draft" else {})

    def tuned(self, situation: str, found: dict[str, Any]) -> "Params":
        """Put what a search found over the parameters of a situation."""
        section = "draft" if situation == "draft" else "lightgbm"
        return self.model_copy(update={section: getattr(self, section) | found})


def read_params(path: Path) -> Params:
    """Read a parameter file; raises InvalidParameters with the place that is wrong."""
    try:
        return Params.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()
        ]
        raise InvalidParameters(f"{path}: {'; '.join(wrong)}") from error
    except (OSError, yaml.YAMLError) as error:
        raise InvalidParameters(f"{path}: {error}") from error


def smaller(params: Params) -> Params:
    """Give the parameters of a model a fifth as dear, for a demonstration that people wait for."""
    rows = params.entity_rows.model_copy(update={"labels_per_row": 4})
    few = {"n_estimators": 150, "learning_rate": 0.12, "num_leaves": 31}
    whole = params.robustness.model_copy(update={"windows_days": ()})
    return params.model_copy(
        update={
            "entity_rows": rows,
            "robustness": whole,
            # Few trees read more of the columns each, or some columns are hardly read at all.
            "lightgbm": params.lightgbm | few | {"colsample_bytree": 0.8},
            "draft": params.draft | few,
        }
    )
