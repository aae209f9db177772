"""Faults on request: what can go wrong between a collector and YouTube, seeded."""

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from ingestion.emulator.errors import (
    ApiError,
    backend_error,
    daily_limit_exceeded,
    quota_exceeded,
    rate_limited,
    too_many_requests,
    unavailable,
)

_REFUSALS = {
    "429": too_many_requests,
    "500": backend_error,
    "503": unavailable,
    "rate": rate_limited,
    "quota": quota_exceeded,
    "daily_limit": daily_limit_exceeded,
}
# `slow` answers after a while, `cut` closes the connection in the middle of the body.
KINDS = (*_REFUSALS, "slow", "cut")
_MAX_SECONDS = 60.0


class InvalidFault(ValueError):
    """What was asked for is no fault."""


@dataclass
class Fault:
    """One kind of fault.

    Attributes:
        kind: One of KINDS.
        share: Of the requests that it hits, in [0, 1].
        count: How many it still hits; null for no end.
        seconds: How long a slow answer takes.
    """

    kind: str
    share: float = 1.0
    count: int | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidFault(f"{self.kind!r} is no fault: choose of {', '.join(KINDS)}")
        if not 0 <= self.share <= 1 or not 0 <= self.seconds <= _MAX_SECONDS:
            raise InvalidFault(f"a share lies in [0, 1], seconds in [0, {_MAX_SECONDS:.0f}]")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `KIND[:SHARE[:SECONDS]]`, such as `503:0.1` or `slow:0.2:1.5`."""
        kind, *numbers = text.split(":")
        try:
            share, seconds, *more = [*map(float, numbers), 1.0, 1.0][: max(2, len(numbers))]
        except ValueError as error:
            raise InvalidFault(f"{text!r} is not KIND[:SHARE[:SECONDS]]") from error
        if more:
            raise InvalidFault(f"{text!r} is not KIND[:SHARE[:SECONDS]]")
        return cls(kind, share=share, seconds=seconds)


@dataclass
class Faults:
    """The faults in force; the same seed and requests give the same faults."""

    seed: int = 0
    each: list[Fault] = field(default_factory=list)
    hits: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(self, asked: Mapping[str, Any]) -> None:
        """Add a fault that is described in JSON; raises InvalidFault."""
        known = {
            name: asked[name] for name in ("kind", "share", "count", "seconds") if name in asked
        }
        try:
            self.each.append(Fault(**known))
        except TypeError as error:
            raise InvalidFault(str(error)) from error

    def clear(self) -> None:
        """End all faults."""
        self.each.clear()

    def next(self) -> Fault | None:
        """Give the fault that hits this request, if one does."""
        for fault in self.each:
            if fault.count == 0 or self._random.random() >= fault.share:
                continue
            if fault.count is not None:
                fault.count -= 1
            self.hits += 1
            return fault
        return None

    def as_json(self) -> dict[str, Any]:
        """Tell which faults are in force and how often one hit."""
        return {"faults": [asdict(fault) for fault in self.each], "hits": self.hits}


def refusal(fault: Fault) -> ApiError | None:
    """Give the error that a fault is answered with; null for one that is none."""
    make = _REFUSALS.get(fault.kind)
    return None if make is None else make()
