import asyncio

import pytest

from serving.coalescing import MOST_TOGETHER, Coalescer


class Store:
    """Answers what it is asked once it may; remembers who was asked for together."""

    def __init__(self):
        self.asked = []
        self.may_answer = asyncio.Event()

    async def ask(self, ids, question):
        self.asked.append((question, list(ids)))
        await self.may_answer.wait()
        return [f"{entity}:{question}" for entity in ids]


def asked(coalescer, entity, question):
    """Ask in a task of its own, as requests do."""
    return asyncio.ensure_future(coalescer.answer(entity, question))


def run(scenario):
    async def with_store():
        store = Store()
        await asyncio.wait_for(scenario(store, Coalescer(store.ask)), 30)

    asyncio.run(with_store())


def test_who_comes_at_one_moment_is_asked_for_together():
    async def scenario(store, coalescer):
        store.may_answer.set()
        waiting = [asked(coalescer, entity, "q") for entity in "abc"]
        assert await asyncio.gather(*waiting) == ["a:q", "b:q", "c:q"]
        assert store.asked == [("q", ["a", "b", "c"])]

    run(scenario)


def test_who_comes_while_an_answer_is_under_way_shares_the_next(monkeypatch):
    monkeypatch.setattr("serving.coalescing.LONGEST_WAIT_SECONDS", 20.0)

    async def scenario(store, coalescer):
        first = asked(coalescer, "a", "q")
        while not store.asked:
            await asyncio.sleep(0)
        later = [asked(coalescer, entity, "q") for entity in "bc"] + [asked(coalescer, "d", "r")]
        await asyncio.sleep(0.01)
        assert store.asked == [("q", ["a"])]
        store.may_answer.set()
        assert await asyncio.gather(first, *later) == ["a:q", "b:q", "c:q", "d:r"]
        assert store.asked[1:] == [("q", ["b", "c"]), ("r", ["d"])]

    run(scenario)


def test_a_store_that_hangs_holds_up_nobody_who_comes_later():
    async def scenario(store, coalescer):
        asked(coalescer, "a", "q")
        while not store.asked:
            await asyncio.sleep(0)
        asked(coalescer, "b", "q")
        while len(store.asked) < 2:  # though the first is still under way
            await asyncio.sleep(0.001)
        store.may_answer.set()

    run(scenario)


def test_no_more_are_asked_for_together_than_is_good():
    async def scenario(store, coalescer):
        store.may_answer.set()
        waiting = [asked(coalescer, str(at), "q") for at in range(MOST_TOGETHER + 1)]
        assert await asyncio.gather(*waiting) == [f"{at}:q" for at in range(MOST_TOGETHER + 1)]
        assert [len(ids) for _, ids in store.asked] == [MOST_TOGETHER, 1]

    run(scenario)


def test_one_who_leaves_takes_nobody_along():
    async def scenario(store, coalescer):
        gone, stays = asked(coalescer, "a", "q"), asked(coalescer, "b", "q")
        gone.cancel()
        store.may_answer.set()
        assert await stays == "b:q"

    run(scenario)


def test_a_failure_reaches_everyone_who_waits():
    async def scenario(store, coalescer):
        async def fail(ids, question):
            raise ValueError(question)

        coalescer = Coalescer(fail)
        for waiting in [asked(coalescer, entity, "q") for entity in "ab"]:
            with pytest.raises(ValueError, match="q"):
                await waiting

    run(scenario)


def test_the_store_is_read_for_the_next_while_answers_are_worked_out():
    async def scenario(store, coalescer):
        order = []

        async def read_then_work(ids, question):
            order.append(("read", ids))
            if ids == ["a"]:
                await store.may_answer.wait()
            await coalescer.has_read()
            order.append(("work", ids))
            return ids

        coalescer = Coalescer(read_then_work)
        first = asked(coalescer, "a", "q")
        while not order:
            await asyncio.sleep(0)
        later = asked(coalescer, "b", "q")
        store.may_answer.set()
        assert await asyncio.gather(first, later) == ["a", "b"]
        assert order.index(("read", ["b"])) < order.index(("work", ["a"]))

    run(scenario)


def test_what_is_known_without_the_store_asks_nobody_and_waits_for_nothing():
    async def scenario(store, coalescer):
        def known(ids, question):
            return None if "unknown" in ids else [f"{one}!" for one in ids]

        coalescer, ids = Coalescer(store.ask, known), [f"{at}" for at in range(9)]
        store.may_answer.set()
        waiting = [asked(coalescer, one, "q") for one in ids]
        assert await asyncio.gather(*waiting) == [f"{one}!" for one in ids]
        await asyncio.sleep(0)
        assert await asked(coalescer, "alone", "q") == "alone!"
        with pytest.raises(StopIteration, match="at once!"):
            coalescer.answer("at once", "q").send(None)  # it never suspends
        assert store.asked == []
        assert await asked(coalescer, "unknown", "q") == "unknown:q"

    run(scenario)


def test_who_comes_alone_after_others_alone_is_answered_in_the_task_that_asks(monkeypatch):
    monkeypatch.setattr("serving.coalescing.LONGEST_WAIT_SECONDS", 20.0)
    tasks = []

    async def scenario(store, coalescer):
        async def ask(ids, question):
            tasks.append((ids, asyncio.current_task()))
            await store.may_answer.wait()
            return ids

        coalescer = Coalescer(ask)
        store.may_answer.set()
        assert await asked(coalescer, "a", "q") == "a"
        store.may_answer.clear()
        alone = asked(coalescer, "b", "q")
        await asyncio.sleep(0)
        assert tasks[-1] == (["b"], alone)
        behind = [asked(coalescer, entity, "q") for entity in "cd"]
        await asyncio.sleep(0.01)
        assert len(tasks) == 2
        store.may_answer.set()
        assert await asyncio.gather(alone, *behind) == ["b", "c", "d"]
        assert [ids for ids, _ in tasks] == [["a"], ["b"], ["c", "d"]]

    run(scenario)


def test_who_comes_after_many_waits_for_others():
    async def scenario(store, coalescer):
        store.may_answer.set()
        for entities in ("a", "bcdef", "ghi", "j"):
            await asyncio.gather(*[asked(coalescer, entity, "q") for entity in entities])
        asked_for = ["".join(ids) for _, ids in store.asked]
        assert asked_for == ["a", "b", "c", "def", "ghi", "j"]
        await asyncio.gather(*[asked(coalescer, entity, "q") for entity in "kl"])
        assert ["".join(ids) for _, ids in store.asked[len(asked_for) :]] == ["k", "l"]

    run(scenario)


def test_who_leaves_alone_holds_up_nobody(monkeypatch):
    monkeypatch.setattr("serving.coalescing.LONGEST_WAIT_SECONDS", 20.0)

    async def scenario(store, coalescer):
        store.may_answer.set()
        await asked(coalescer, "a", "q")
        store.may_answer.clear()
        gone, stays = asked(coalescer, "b", "q"), asked(coalescer, "c", "q")
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        store.may_answer.set()
        assert await stays == "c:q"

    run(scenario)


def test_who_comes_with_few_that_needed_no_store_is_answered_with_the_others():
    async def scenario(store, coalescer):
        asked_for = []

        async def ask(ids, question):
            asked_for.append(ids)
            return ids

        coalescer = Coalescer(ask)
        assert await asked(coalescer, "a", "q") == "a"
        together = [asked(coalescer, entity, "q") for entity in "bcde"]
        assert await asyncio.gather(*together) == ["b", "c", "d", "e"]
        assert asked_for == [["a"], ["b"], ["c"], ["d", "e"]]

    run(scenario)
