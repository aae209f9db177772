from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from ingestion.quota import QuotaExhausted, QuotaLedger, quota_day, reset_after, usage

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def used(engine: Engine, bucket: str = "list", now: datetime = NOW) -> int:
    return next(b.used for b in usage(engine, now) if b.bucket == bucket)


def charge_until_refused(engine: Engine, limit: int, block: int) -> int:
    ledger = QuotaLedger(engine, lambda: NOW, world="real", limit=limit, block=block)
    with closing(ledger):
        for charged in range(limit + 1):
            try:
                ledger.charge()
            except QuotaExhausted:
                return charged
    raise AssertionError("more was charged than the limit")


def test_the_day_is_californias_and_minds_daylight_saving() -> None:
    assert quota_day(datetime(2026, 1, 1, 7, 59, tzinfo=UTC)) == date(2025, 12, 31)
    assert quota_day(datetime(2026, 7, 1, 7, 0, tzinfo=UTC)) == date(2026, 7, 1)
    assert reset_after(datetime(2026, 3, 8, 9, tzinfo=UTC)) == datetime(2026, 3, 9, 7, tzinfo=UTC)
    assert reset_after(datetime(2026, 11, 1, 8, tzinfo=UTC)) == datetime(2026, 11, 2, 8, tzinfo=UTC)


@pytest.mark.parametrize("block", [1, 7, 100])
def test_exactly_the_limit_is_charged(warehouse: Engine, block: int) -> None:
    assert charge_until_refused(warehouse, limit=25, block=block) == 25
    assert used(warehouse) == 25


def test_many_collectors_never_charge_more_than_the_limit(warehouse: Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        charged = list(
            threads.map(lambda _: charge_until_refused(warehouse, limit=50, block=3), range(4))
        )
    assert sum(charged) <= 50
    assert used(warehouse) == sum(charged)


def test_what_is_charged_and_not_used_is_given_back(warehouse: Engine) -> None:
    with closing(QuotaLedger(warehouse, lambda: NOW, world="real", block=20)) as ledger:
        ledger.charge()
        assert used(warehouse) == 20
    assert used(warehouse) == 1


def test_a_new_day_has_a_new_allowance(warehouse: Engine) -> None:
    moments = [NOW, NOW, NOW + timedelta(days=1)]
    ledger = QuotaLedger(warehouse, lambda: moments.pop(0), world="real", limit=1)
    with closing(ledger):
        ledger.charge()
        with pytest.raises(QuotaExhausted, match="2026-06-02T07:00:00"):
            ledger.charge()
        ledger.charge()
    assert used(warehouse, now=NOW + timedelta(days=1)) == 1


def test_what_is_left_of_a_days_block_pays_for_nothing_on_the_next(warehouse: Engine) -> None:
    moments, tomorrow = [NOW, NOW + timedelta(days=1)], NOW + timedelta(days=1)
    with closing(QuotaLedger(warehouse, lambda: moments.pop(0), world="real", block=20)) as ledger:
        ledger.charge()
        ledger.charge()
        assert (used(warehouse), used(warehouse, now=tomorrow)) == (1, 20)


def test_an_emulators_units_are_not_youtubes(warehouse: Engine) -> None:
    with closing(QuotaLedger(warehouse, lambda: NOW, world="synthetic")) as ledger:
        ledger.charge()
    assert used(warehouse) == 0
    assert used(warehouse, "list@synthetic") == 1
