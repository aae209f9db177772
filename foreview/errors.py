"""What goes wrong at the front door."""


class ForeviewError(Exception):
    """Base of the errors whose message is all a user needs to read."""


class LocalServersError(ForeviewError):
    """A private server could not be started, stopped or reached."""
