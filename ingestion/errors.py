"""What can go wrong while observations are collected, loaded and kept."""


class IngestionError(Exception):
    """Base of every error that ingestion raises."""


class WarehouseUnavailable(IngestionError):
    """PostgreSQL does not answer, or refuses us."""


class LandingError(IngestionError):
    """A raw response cannot be stored, or is not where its reference points."""


class UnreadableFile(IngestionError):
    """A file to load is corrupt, or of no kind that can be loaded; the others are loaded."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NothingToLoad(IngestionError):
    """No file that could be loaded lies where some were said to be."""


class UnparsableItem(IngestionError):
    """One item of a response lacks what a record needs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
