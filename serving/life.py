"""Whether this server is on its way out."""


class Life:
    """Shared by the server, which is told to end, and the application, which tells others."""

    def __init__(self) -> None:
        self.is_draining = False
