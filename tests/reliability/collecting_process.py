"""A collector in a process of its own, to be killed: the real one, or a naive one."""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from ingestion import targets, warehouse
from ingestion.collecting import EmulatorClock, open_metered_client
from ingestion.collector import Collector
from ingestion.errors import IngestionError
from ingestion.ingesting import ingest_responses
from ingestion.landing import Landing


class NaiveCollector(Collector):
    """Saves the plan, then appends, each by itself, and goes on when something fails."""

    def recover(self) -> Any:
        """Know nothing of what others landed."""

    def _flush(self) -> None:
        stored, changed, new = self._stored, self._changed, self._new
        self._stored, self._changed, self._new = [], [], []
        with self._engine.begin() as connection:
            targets.save_targets(connection, changed)
            targets.add_targets(connection, new)
        # Rows are gathered for a while, as a batch job would: the plan is ahead of them.
        responses = [s.response for s in stored if s.response]
        if responses:
            sys.stdout.write(f"gathering {os.getpid()}\n")
            sys.stdout.flush()
        time.sleep(1.0)
        ingest_responses(self._engine, responses, loaded_at=self._clock())


def main(kind: str, database: str, schema: str, landing: str, address: str) -> None:
    """Collect what is due, over and over, until killed."""
    engine = warehouse.open_warehouse(database, schema)
    clock = EmulatorClock(address)
    make = NaiveCollector if kind == "naive" else Collector
    with open_metered_client(
        engine, clock=clock.now, world="synthetic", api_key=None, endpoint=address
    ) as (client, ledger):
        collector = make(
            engine,
            client,
            Landing(landing),
            clock=clock.now,
            world="synthetic",
            ledger=ledger,
        )
        rounds(collector)


def rounds(collector: Collector, pause: float = 0.1) -> None:
    """Go on whatever happens to YouTube, PostgreSQL or the landing."""
    while True:
        try:
            collector.recover()
            collector.look()
            sys.stdout.write("round\n")
        except (IngestionError, DBAPIError) as error:
            sys.stdout.write(f"{type(error).__name__}: {error}\n")
        sys.stdout.flush()
        time.sleep(pause)


def command(kind: str, *arguments: str) -> Sequence[str]:
    """Give the command line of such a process."""
    return [sys.executable, "-m", "tests.reliability.collecting_process", kind, *arguments]


if __name__ == "__main__":
    main(*sys.argv[1:])
