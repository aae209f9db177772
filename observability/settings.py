"""Settings of observability, read from `FOREVIEW_*` variables and `.env`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from observability.errors import SettingMissing


class ObservabilitySettings(BaseSettings):
    """Where what happened is read from; each field is the variable FOREVIEW_<NAME>."""

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
    metrics_port: int = Field(9108, ge=0, le=65535)

    @property
    def required_database_url(self) -> str:
        """PostgreSQL, with the forecast log and everything else."""
        return _required(self.database_url, "FOREVIEW_DATABASE_URL")

    @property
    def required_redis_url(self) -> str:
        """The online store."""
        return _required(self.redis_url, "FOREVIEW_REDIS_URL")

    @property
    def required_mlflow_tracking_uri(self) -> str:
        """The model registry."""
        return _required(self.mlflow_tracking_uri, "FOREVIEW_MLFLOW_TRACKING_URI")


def _required(value: str | None, variable: str) -> str:
    if not value:
        raise SettingMissing(variable)
    return value
