"""Settings of the forecast service, from the environment."""

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.errors import SettingMissing


class ServingSettings(BaseSettings):
    """What the forecast service needs to know; each field is the variable FOREVIEW_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="FOREVIEW_", env_file=".env", extra="ignore", frozen=True
    )

    state_dir: Path = Path(".foreview")
    database_url: str | None = None
    database_schema: str = "foreview"
    redis_url: str | None = None
    mlflow_tracking_uri: str | None = None
    clock: str = "system"
    world: str | None = None
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    feature_max_age_hours: float = Field(72.0, gt=0)
    redis_timeout_seconds: float = Field(0.1, gt=0)
    redis_sentinels: str | None = None
    redis_sentinel_service: str = "mymaster"
    redis_cluster: bool = False
    recent_features: int = Field(20_000, ge=0)
    api_keys: Literal["auto", "on", "off"] = "auto"
    api_metrics_port: int | None = Field(None, ge=1, le=65535)
    rate_limit: str | None = None
    access_log: Literal["all", "errors", "off"] = "errors"
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    drain_seconds: float = Field(1.0, ge=0)
    registry_poll_seconds: float = Field(5.0, gt=0)
    forecast_log_capacity: int = Field(20_000, gt=0)

    @property
    def needs_api_keys(self) -> bool:
        """Whether a request needs an API key: by default unless only this machine can ask."""
        if self.api_keys == "auto":
            return not _is_loopback(self.api_host)
        return self.api_keys == "on"

    @property
    def required_database_url(self) -> str:
        """The database of the forecast log."""
        return _required(self.database_url, "FOREVIEW_DATABASE_URL")

    @property
    def required_redis_url(self) -> str:
        """The online store."""
        return _required(self.redis_url, "FOREVIEW_REDIS_URL")

    @property
    def required_mlflow_tracking_uri(self) -> str:
        """The model registry."""
        return _required(self.mlflow_tracking_uri, "FOREVIEW_MLFLOW_TRACKING_URI")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _required(value: str | None, variable: str) -> str:
    if not value:
        raise SettingMissing(variable)
    return value
