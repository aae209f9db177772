"""Requests that arrive together are answered together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")

MOST_TOGETHER = 64
# A store that hangs does not hold up those who come later: they ask for themselves.
LONGEST_WAIT_SECONDS = 0.003
# So few of one round of the loop are answered sooner one by one than by a task that they share.
FEW = 2


class _Group(Generic[Q, A]):
    """Ids that are asked for together, and who waits for the answer about each."""

    __slots__ = ("ids", "is_launched", "question", "waiting")

    def __init__(self, question: Q) -> None:
        self.question = question
        self.ids: list[str] = []
        self.waiting: list[asyncio.Future[A]] = []
        self.is_launched = False


class Coalescer(Generic[Q, A]):
    """Gathers the ids asked at one moment and asks for them at once.

    Where few come in a round of the event loop, each is answered at once, in the very task that
    asks. While the store is being read, those who come gather behind and share the next: one trip
    to the store and one pass of array work for all. So do those who come in a round with many, or
    after one.
    """

    def __init__(
        self,
        ask: Callable[[list[str], Q], Awaitable[Sequence[A]]],
        ask_at_once: Callable[[list[str], Q], Sequence[A] | None] = lambda ids, question: None,
    ) -> None:
        """Gather for `ask`; what `ask_at_once` answers, if it does, needs no waiting."""
        self._ask = ask
        self._ask_at_once = ask_at_once
        self._open: dict[Q, _Group[Q, A]] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._came_together = MOST_TOGETHER
        self._coming = 0

    async def answer(self, entity_id: str, question: Q) -> A:
        """Give the answer for one id."""
        if not self._coming:
            asyncio.get_running_loop().call_soon(self._end_round)
        self._coming += 1
        are_few = self._came_together <= FEW and self._coming <= FEW
        if not are_few or self._running or self._open:
            return await self._gathered(entity_id, question)
        known = self._ask_at_once([entity_id], question)
        if known is not None:
            return known[0]
        task = asyncio.current_task()
        assert task is not None  # it is what runs this
        self._running.add(task)  # a group would cost a task of its own and two rounds of the loop
        try:
            (answer,) = await self._ask([entity_id], question)
        finally:
            self._launch_next(task)
        return answer

    def _end_round(self) -> None:
        """Note how many came in a round, all of whom have been seen by now."""
        self._came_together, self._coming = self._coming, 0

    def _gathered(self, entity_id: str, question: Q) -> "asyncio.Future[A]":
        loop = asyncio.get_running_loop()
        group = self._open.get(question)
        if group is None:
            group = self._open[question] = _Group(question)
            if self._running:
                loop.call_later(LONGEST_WAIT_SECONDS, self._launch, group)
            else:
                loop.call_soon(self._launch, group)
        future: asyncio.Future[A] = loop.create_future()
        group.ids.append(entity_id)
        group.waiting.append(future)
        if len(group.ids) >= MOST_TOGETHER:
            self._launch(group)
        return future

    async def has_read(self) -> None:
        """Say that the store has answered the present task: now it may be asked for the next.

        It reads for them while this task works its own answers out.
        """
        task = asyncio.current_task()
        if task is None or task not in self._running:
            return
        is_awaited = bool(self._open)
        self._launch_next(task)
        if is_awaited:
            for _ in range(2):  # the loop sends at the end of the round in which they were asked
                await asyncio.sleep(0)

    def _launch(self, group: _Group[Q, A]) -> None:
        if group.is_launched:
            return
        group.is_launched = True
        del self._open[group.question]
        task = asyncio.get_running_loop().create_task(self._run(group))
        self._running.add(task)
        task.add_done_callback(self._launch_next)

    def _launch_next(self, done: asyncio.Task[Any]) -> None:
        if done not in self._running:
            return  # it has said so itself, and another is being waited for
        self._running.discard(done)
        for group in list(self._open.values()):
            self._launch(group)

    async def _run(self, group: _Group[Q, A]) -> None:
        try:
            known = self._ask_at_once(group.ids, group.question)
            answers = await self._ask(group.ids, group.question) if known is None else known
        except BaseException as error:
            for future in group.waiting:
                if not future.done():
                    future.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for future, answer in zip(group.waiting, answers, strict=True):
            if not future.done():  # the one who asked may have gone
                future.set_result(answer)
