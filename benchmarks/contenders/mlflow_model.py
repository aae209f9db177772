"""The benchmark's model as MLflow knows models: three boosters behind one `predict`."""

from pathlib import Path
from typing import Any

import lightgbm
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

DAYS = (1, 7, 30)


class Boosters(PythonModel):
    """Gives each metric at each horizon for rows of features."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the native models."""
        native = Path(context.artifacts["native"])
        self.boosters = {p.stem: lightgbm.Booster(model_file=p) for p in native.glob("*.txt")}

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None
    ) -> list[dict[str, float]]:
        """Predict rows of features, without the horizon."""
        answers: list[dict[str, float]] = [{} for _ in range(len(model_input))]
        for metric, booster in self.boosters.items():
            for day in DAYS:
                given = model_input.assign(horizon_days=float(day))[booster.feature_name()]
                for answer, value in zip(
                    answers, booster.predict(given, num_threads=1), strict=True
                ):
                    answer[f"{metric}_{day}d"] = float(value)
        return answers


set_model(Boosters())
