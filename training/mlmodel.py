"""A bundle as a model in MLflow's own format: what it takes and gives, with an example."""

import json
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from feature_repo.bundle import MODEL_FILE, MODEL_INPUT, REFERENCE_FILE, Contract

EXAMPLE_FILE = "input_example.json"
EXAMPLE_ROWS = 3


def write_mlmodel(bundle: Path, contract: Contract) -> None:
    """Describe a bundle's graph in an `MLmodel` file, so that MLflow's tools can load it.

    The example is the first rows of the bundle's reference, a day ahead.
    """
    single = np.dtype(np.float32)
    width = len(contract.columns) + 1
    takes = Schema([TensorSpec(single, (-1, width), MODEL_INPUT)])
    gives = Schema([TensorSpec(single, (-1, 1), m.output) for m in contract.metrics.values()])
    model = Model(signature=ModelSignature(inputs=takes, outputs=gives))
    model.add_flavor("onnx", onnx_version=onnx.__version__, data=MODEL_FILE, code=None)
    model.add_flavor(
        "python_function", loader_module="mlflow.onnx", data=MODEL_FILE, code=None, env={}
    )
    model.saved_input_example_info = {
        "artifact_path": EXAMPLE_FILE,
        "type": "ndarray",
    }
    # Without the request's "inputs" around it, which MLflow would take for the name of an input.
    (bundle / EXAMPLE_FILE).write_text(json.dumps({MODEL_INPUT: _example(bundle)}))
    model.save(str(bundle / "MLmodel"))


def _example(bundle: Path) -> list[list[float | None]]:
    rows = pq.read_table(bundle / REFERENCE_FILE).slice(0, EXAMPLE_ROWS).to_pylist()
    return [[*_known(list(row.values())), 1.0] for row in rows]


def _known(values: list[float | None]) -> list[float | None]:
    return [None if value is None or np.isnan(value) else value for value in values]
