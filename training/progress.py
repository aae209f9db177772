"""Progress of a training, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Show a spinner with the step under way; gives the function that names it."""
    console = Console(stderr=True)
    with console.status(title) as status:

        def report(step: str) -> None:
            status.update(f"{title}: {step}")
            if not console.is_terminal:
                console.print(f"{title}: {step}")

        yield report
