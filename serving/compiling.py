"""Compiles numeric kernels: by numba where that is installed, or beforehand, for images.

numba and its LLVM are 192 MB. An image is built with `python -m serving.compiling DIRECTORY`,
which needs numba and a C compiler, and holds the extension that makes instead of both.

Kernels call functions of `feature_repo` that numpy runs elsewhere: there is one definition of each.
"""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import feature_repo
from feature_repo.transformations import elementwise

_MODULES = (
    "serving.redis_kernel", "serving.row_kernel", "serving.tree_kernel", "serving.tree_masks",
)  # fmt: skip
_EXTENSION = "_kernels"
# Of every 64-bit server since 2009; newer instructions made no kernel faster when measured.
_PROCESSOR = "x86-64-v2"


def _extension() -> Any:
    try:
        return importlib.import_module(f"serving.{_EXTENSION}")
    except ModuleNotFoundError:
        return None


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let imports of modules fail that are not there yet.

    numba takes scipy and cffi along where they are installed, for what no kernel does: a
    server that starts would wait for them.
    """
    hidden: dict[str, Any] = {name: None for name in names if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(
                name, None
            )  # models are loaded side by side: another may have been first


# The number of zeros below the lowest set bit: for kernels, which alone can call it.
trailing_zeros: Any = None
if _extension() is None:
    with _absent("scipy", "cffi"):
        trailing_zeros = importlib.import_module("numba.cpython.unsafe.numbers").trailing_zeros

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])
_compiled_here: dict[str, tuple[str, Any]] = {}


def compiled(
    signature: str, shared: Sequence[Callable[..., Any]] = ()
) -> Callable[[_Kernel], _Kernel]:
    """Compile a function for a signature of numba's; no bounds are checked.

    Compiled here it lets go of the GIL; compiled beforehand it holds it, for some microseconds a
    forecast. A function whose name begins with an underscore is then part of those that call it,
    and never called from Python.

    Args:
        signature: Of the function.
        shared: Functions of `feature_repo` that it calls.
    """

    def decorate(function: _Kernel) -> _Kernel:
        name = f"{function.__module__.rpartition('.')[2]}_{function.__name__}"
        extension = _extension()
        if extension is not None:
            is_inner = function.__name__.startswith("_")
            return function if is_inner else getattr(extension, name)
        import numba

        if shared:
            _share(shared)
            function.__qualname__ += f"_{_version_of_features()}"  # numba's cache goes by the name
        with _absent("scipy"):
            kernel = numba.njit(signature, cache=True, nogil=True, boundscheck=False)(function)
        _compiled_here[name] = (signature, kernel)
        return kernel

    return decorate


def _share(functions: Sequence[Callable[..., Any]]) -> None:
    """Tell numba of functions that are written for arrays and for single values."""
    from numba.extending import overload, register_jitable

    for function in functions:
        register_jitable(function)
    overload(elementwise.where)(
        lambda condition, value, other: (
            lambda condition, value, other: value if condition else other
        )
    )
    overload(elementwise.of_step)(lambda block, step: lambda block, step: block[step])
    overload(elementwise.whole)(lambda values: lambda values: int(values))


def _version_of_features() -> str:
    """Name the state of the sources that shared functions and their constants come from."""
    digest = hashlib.sha256()
    for path in sorted(Path(feature_repo.__path__[0]).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def build(directory: Path) -> None:
    """Write the extension with all kernels into a directory."""
    from numba.pycc import CC

    # Run as a program, this module is another than the one that kernels know.
    this = importlib.import_module("serving.compiling")
    builder = CC(_EXTENSION, source_module=this)
    builder.output_dir = str(directory)
    builder.target_cpu = _PROCESSOR
    for module in _MODULES:
        importlib.import_module(module)
    for name, (signature, kernel) in this._compiled_here.items():
        if not kernel.py_func.__name__.startswith("_"):
            builder.export(name, signature)(kernel.py_func)
    builder.compile()


if __name__ == "__main__":
    build(Path(sys.argv[1]))
