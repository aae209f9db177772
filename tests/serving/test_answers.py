"""What an answer says beside its counts."""

from uuid import UUID

from serving.answers import new_forecast_id


def test_ids_of_forecasts_are_random_uuids():
    ids = {new_forecast_id() for _ in range(1000)}
    assert len(ids) == 1000
    for told in ids:
        parsed = UUID(told)
        assert (str(parsed), parsed.version, parsed.variant) == (told, 4, "specified in RFC 4122")
