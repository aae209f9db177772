"""The way it is usually done: Feast's SDK, a DataFrame, `predict`, one by one."""

import os
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from fastapi import FastAPI

from feature_repo.clock import system_clock
from feature_repo.store import open_feature_store
from feature_repo.targets import METRICS
from serving.server import bind, run

_DAYS = (1, 7, 30)


def create_app() -> FastAPI:
    """Build the application, on the store and the native models of the stage."""
    app = FastAPI()
    store = open_feature_store()
    service = store.get_feature_service("published_v2")
    native = Path(os.environ["FOREVIEW_STATE_DIR"]).parent / "bundle" / "native"
    boosters = {m: lightgbm.Booster(model_file=native / f"{m}.txt") for m in METRICS}
    names = boosters["views"].feature_name()

    @app.get("/naive/{video_id}")
    def answer(video_id: str) -> dict[str, Any]:
        number = int(video_id.removeprefix("bench"))
        row = {
            "video_id": video_id,
            "channel_id": f"UC{number % 200:022d}",
            "as_of": int(system_clock().timestamp()),
        }
        vector = store.get_online_features(service, [row]).to_df()
        told: dict[str, Any] = {}
        for metric, booster in boosters.items():
            told[metric] = []
            for day in _DAYS:
                given = vector.assign(horizon_days=float(day))[names].astype(np.float32)
                told[metric].append(float(booster.predict(given, num_threads=1)[0]))
        return told

    return app


if __name__ == "__main__":
    run(create_app(), bind("127.0.0.1", 0), lambda address: print(address, flush=True))  # noqa: T201
