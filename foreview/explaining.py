"""Errors in one clear line: what failed, and which setting to look at.

Libraries are recognised by the names of their errors: importing them here would cost every
command seconds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_OUR_PACKAGES = {
    "benchmarks",
    "feature_repo",
    "foreview",
    "ingestion",
    "observability",
    "serving",
    "training",
}


@dataclass(frozen=True)
class _Client:
    """The errors with which a library says that a server does not answer."""

    errors: frozenset[str]
    server: str
    setting: str


_CLIENTS = (
    _Client(
        frozenset({"psycopg.OperationalError", "psycopg2.OperationalError"}),
        "PostgreSQL",
        "FOREVIEW_DATABASE_URL",
    ),
    _Client(
        frozenset({"redis.exceptions.ConnectionError", "redis.exceptions.TimeoutError"}),
        "Redis",
        "FOREVIEW_REDIS_URL",
    ),
)
_HTTP_ERRORS = frozenset(
    {
        "httpx.ConnectError",
        "httpx.TimeoutException",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "urllib3.exceptions.MaxRetryError",
        "urllib.error.URLError",
        "builtins.ConnectionRefusedError",
        "botocore.exceptions.EndpointConnectionError",
    }
)
_HTTP_SERVERS = {
    "FOREVIEW_MLFLOW_TRACKING_URI": "MLflow",
    "FOREVIEW_YOUTUBE_ENDPOINT": "the YouTube endpoint",
    "FOREVIEW_CLOCK": "the clock",
    "FOREVIEW_LANDING_URL": "the object store",
    "AWS_ENDPOINT_URL": "the object store",
}
_NOT_PREPARED = {
    "psycopg.InvalidSchemaName": "its tables are missing: run 'foreview features build'",
    "psycopg.UndefinedTable": "its tables are missing: run 'foreview features build'",
    "psycopg2.InvalidSchemaName": "its tables are missing: run 'foreview features build'",
    "psycopg2.UndefinedTable": "its tables are missing: run 'foreview features build'",
    "feast.FeatureViewNotFoundException": "it has no features: run 'foreview features apply'",
    "feast.FeatureServiceNotFoundException": "it has no features: run 'foreview features apply'",
}
_REFUSALS = ("password authentication failed", "WRONGPASS", "invalid username-password", "NOAUTH")


def explain(error: BaseException, environment: Mapping[str, str]) -> str | None:
    """Say in one line what failed, without passwords; null for what is a defect of ours."""
    if type(error).__module__.split(".")[0] in _OUR_PACKAGES:
        return str(error)
    for cause in _causes(error):
        names = _class_names(cause)
        client = next((client for client in _CLIENTS if names & client.errors), None)
        if client:
            return _about(client.server, client.setting, str(cause), environment)
        missing = next((_NOT_PREPARED[name] for name in names if name in _NOT_PREPARED), None)
        if missing:
            schema = environment.get("FOREVIEW_DATABASE_SCHEMA", "foreview")
            return f"the schema {schema} is not prepared; {missing}"
        if names & _HTTP_ERRORS:
            return _about_http(f"{cause} {_requested_url(cause)}", environment)
    return _about_settings(error) or _about_file(error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those it was raised from.

    An error that merely happened while another was handled counts only when a library raised it:
    a KeyError in our own handler is a defect, not a server that does not answer.
    """
    current: BaseException | None = error
    while current is not None:
        yield current
        by_library = type(current).__module__ != "builtins"
        current = current.__cause__ or (current.__context__ if by_library else None)


def _class_names(error: BaseException) -> set[str]:
    """Give the public names of an error's classes: `psycopg.errors` is known as `psycopg`."""
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return names | {
        f"{kind.__module__.split('.')[0]}.{kind.__qualname__}" for kind in type(error).__mro__
    }


def _about(server: str, setting: str, text: str, environment: Mapping[str, str]) -> str:
    url = environment.get(setting)
    if not url:
        return f"{setting} is not set: run 'foreview up', or set it to the address of {server}"
    if any(refusal in text for refusal in _REFUSALS):
        return f"{server} at {_address(url)} refuses the password: check {setting}"
    if 'database "' in text and "does not exist" in text:
        return f"{server} at {_address(url)} has no such database: check {setting}"
    if server == "PostgreSQL" and not _is_about_connecting(text):
        return f"PostgreSQL at {_address(url)} failed: {text.splitlines()[0]}"
    return f"{server} does not answer at {_address(url)}: check {setting}, or run 'foreview up'"


def _is_about_connecting(text: str) -> bool:
    signs = ("connect", "timeout", "terminating", "closed", "starting up", "shutting down", "SSL")
    return any(sign in text for sign in signs)


def _about_http(text: str, environment: Mapping[str, str]) -> str:
    for setting, server in _HTTP_SERVERS.items():
        url = environment.get(setting, "")
        if "://" in url and _is_mentioned(url, text):
            return (
                f"{server} does not answer at {_address(url)}: check {setting}, "
                "or run 'foreview status'"
            )
    return f"a server does not answer ({text.strip()}): see 'foreview doctor'"


def _requested_url(error: BaseException) -> str:
    request = getattr(error, "_request", None) or getattr(error, "request", None)
    return str(getattr(request, "url", ""))


def _is_mentioned(url: str, text: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.hostname and parts.hostname in text and str(parts.port or "") in text)


def _about_settings(error: BaseException) -> str | None:
    """Name the settings that a settings class refuses."""
    title = getattr(error, "title", "")
    if type(error).__name__ != "ValidationError" or not str(title).endswith("Settings"):
        return None
    faults = [
        f"FOREVIEW_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']}"
        for fault in error.errors(include_input=False)  # type: ignore[attr-defined]
    ]
    return "; ".join(faults)


def _about_file(error: BaseException) -> str | None:
    """Name the file or folder that cannot be used; an `OSError` about something else has none."""
    if not isinstance(error, OSError) or not error.filename or not error.strerror:
        return None
    return f"{error.filename}: {error.strerror}"


def _address(url: str) -> str:
    """Give host and port of an address, and nothing secret."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
