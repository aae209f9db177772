"""Fields picked from whole rows, however each was written."""

import itertools

from serving.online_features import EntityPlan


def test_fields_are_picked_from_rows_in_any_order_with_some_absent_or_more() -> None:
    plan = EntityPlan.of("channel_id", [("view", "a"), ("view", "b")])
    stored = {field: b"value of " + field for field in (*plan.fields, b"more")}
    for count in range(len(stored) + 1):
        for order in itertools.permutations(stored, count):
            row = [part for field in order for part in (field, stored[field])]
            wanted = [stored[field] if field in order else None for field in plan.fields]
            assert list(plan.picked(row)) == wanted


def test_of_a_row_from_which_nothing_is_wanted_nothing_is_picked() -> None:
    plan = EntityPlan.of("channel_id", [])
    assert list(plan.picked([b"field", b"value"])) == []
    assert plan.numbers_of([[]]).shape == (1, 0)
