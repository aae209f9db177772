"""MLflow's scoring server, as `mlflow models serve` runs it: the features come in the request."""

import os
import tempfile
from pathlib import Path

import mlflow.pyfunc
from mlflow.pyfunc.scoring_server import init

from serving.server import bind, run

if __name__ == "__main__":
    native = Path(os.environ["FOREVIEW_STATE_DIR"]).parent / "bundle" / "native"
    with tempfile.TemporaryDirectory() as scratch:
        mlflow.pyfunc.save_model(
            f"{scratch}/model",
            python_model=str(Path(__file__).with_name("mlflow_model.py")),
            artifacts={"native": str(native)},
            pip_requirements=["lightgbm"],
        )
        model = mlflow.pyfunc.load_model(f"{scratch}/model")
        run(init(model), bind("127.0.0.1", 0), lambda address: print(address, flush=True))  # noqa: T201
