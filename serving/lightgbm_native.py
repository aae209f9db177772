"""LightGBM's own library, called directly: its Python package would bring SciPy, 111 MB of it."""

import ctypes
import importlib.util
import weakref
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FLOAT64 = 1  # C_API_DTYPE_FLOAT64
_CONTRIBUTIONS = 3  # C_API_PREDICT_CONTRIB


class NativeModelError(Exception):
    """LightGBM refused a model or a row; the message is its own."""


class NativeModel:
    """A model in LightGBM's text format."""

    def __init__(self, path: Path) -> None:
        """Read a model.

        Raises:
            NativeModelError: The file is no such model.
        """
        library = _library()
        self._handle = ctypes.c_void_p()
        rounds = ctypes.c_int()
        _check(
            library.LGBM_BoosterCreateFromModelfile(
                str(path).encode(), ctypes.byref(rounds), ctypes.byref(self._handle)
            )
        )
        weakref.finalize(self, library.LGBM_BoosterFree, self._handle)
        width = ctypes.c_int()
        _check(library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(width)))
        self.width = width.value

    def contributions(self, row: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the SHAP value of each input of one row and, last, the model's usual output.

        Args:
            row: float64, as many as the model has inputs; NaN where null.

        Raises:
            NativeModelError: The row is of another length.
        """
        if row.shape != (self.width,):
            raise NativeModelError(f"the model reads {self.width} inputs, not {row.shape}")
        given = np.ascontiguousarray(row, dtype=np.float64)
        found = np.empty(self.width + 1, dtype=np.float64)
        length = ctypes.c_int64()
        _check(
            _library().LGBM_BoosterPredictForMat(
                self._handle,
                given.ctypes.data_as(ctypes.c_void_p),
                _FLOAT64,
                ctypes.c_int32(1),
                ctypes.c_int32(self.width),
                1,
                _CONTRIBUTIONS,
                0,
                -1,
                b"num_threads=1",
                ctypes.byref(length),
                found.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )
        )
        if length.value != len(found):
            raise NativeModelError(f"LightGBM gave {length.value} contributions")
        return found


def _check(code: int) -> None:
    if code:
        message = _library().LGBM_GetLastError()
        raise NativeModelError((message or b"unknown").decode(errors="replace"))


@cache
def _library() -> ctypes.CDLL:
    package = importlib.util.find_spec("lightgbm")  # finds it; nothing of it is imported
    places = (package and package.submodule_search_locations) or []
    for place in places:
        file = Path(place) / "lib" / "lib_lightgbm.so"
        if file.is_file():
            library = ctypes.CDLL(str(file))
            library.LGBM_GetLastError.restype = ctypes.c_char_p
            return library
    raise NativeModelError("lightgbm is not installed: pip install 'foreview[serving]'")
