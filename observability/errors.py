"""What can go wrong in observability."""


class ObservabilityError(Exception):
    """Base of the errors of observability; the message says the way out."""


class SettingMissing(ObservabilityError):
    """An address is not set."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"{variable} is not set: run `foreview up` for private servers, or set it")


class DatabaseUnavailable(ObservabilityError):
    """PostgreSQL does not answer."""


class NothingToCompare(ObservabilityError):
    """There is no model, or no forecast was ever logged, so that there is nothing to compare."""
