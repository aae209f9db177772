"""A bundle's graph as onnxruntime evaluates it, which any other evaluation must equal."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from feature_repo.bundle import MODEL_FILE, MODEL_INPUT, BundleError, Contract


class OnnxSession:
    """Evaluates rows on one thread: a row's sum is then the same alone and in a batch."""

    def __init__(self, directory: Path, contract: Contract) -> None:
        """Open a bundle's graph.

        Raises:
            BundleError: onnxruntime cannot run it, or it is not as the contract says.
        """
        self._outputs = [metric.output for metric in contract.metrics.values()]
        width = len(contract.columns) + 1
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = directory / MODEL_FILE
        try:
            session = ort.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no other base
            raise BundleError(f"{path} is not a model that onnxruntime can run: {error}") from error
        inputs = {given.name: given.shape for given in session.get_inputs()}
        if MODEL_INPUT not in inputs or inputs[MODEL_INPUT][-1] != width:
            raise BundleError(f"{path} takes {inputs}, its contract says {MODEL_INPUT} of {width}")
        lacking = set(self._outputs) - {output.name for output in session.get_outputs()}
        if lacking:
            raise BundleError(f"{path} lacks the outputs {sorted(lacking)} of its contract")
        self._session = session

    def evaluate(
        self, features: NDArray[np.float32], days: NDArray[np.int_]
    ) -> NDArray[np.float32]:
        """Cross rows with horizons and run the graph.

        Args:
            features: The model's columns, shape (n, columns).
            days: Horizons.

        Returns:
            Each output, shape (n, outputs, horizons).
        """
        n, width = features.shape
        crossed = np.empty((n, len(days), width + 1), dtype=np.float32)
        crossed[:, :, :width] = features[:, np.newaxis, :]
        crossed[:, :, width] = days
        outputs = self._session.run(self._outputs, {MODEL_INPUT: crossed.reshape(-1, width + 1)})
        return np.stack([output.reshape(n, len(days)) for output in outputs], axis=1)
