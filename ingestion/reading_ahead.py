"""Makes the next thing while the last one is used, as PostgreSQL works while the next is read."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")


def ahead(things: Iterable[Thing]) -> Iterator[Thing]:
    """Give things in order, the next one in the making; what making it raises is raised here."""
    iterator = iter(things)
    with ThreadPoolExecutor(1) as threads:
        coming = threads.submit(_next, iterator)
        while (made := coming.result()) is not None:
            coming = threads.submit(_next, iterator)
            yield made[0]


def _next(iterator: Iterator[Thing]) -> tuple[Thing] | None:
    for thing in iterator:
        return (thing,)
    return None
