"""The benchmark's model behind BentoML; runs in an environment of its own, without our packages."""

import os
from pathlib import Path

import bentoml
import lightgbm
import numpy as np

DAYS = (1, 7, 30)


@bentoml.service(workers=1)
class Boosters:
    """Gives each metric at each horizon; the features come in the request."""

    def __init__(self) -> None:
        native = Path(os.environ["FOREVIEW_STATE_DIR"]).parent / "bundle" / "native"
        self.boosters = {p.stem: lightgbm.Booster(model_file=p) for p in native.glob("*.txt")}

    @bentoml.api
    def predict(self, features: list[float]) -> dict[str, float]:
        """Predict one row of features."""
        told = {}
        for metric, booster in self.boosters.items():
            for day in DAYS:
                row = np.array([[*features, float(day)]])
                told[f"{metric}_{day}d"] = float(booster.predict(row, num_threads=1)[0])
        return told
