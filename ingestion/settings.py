"""Settings of ingestion, read from `FOREVIEW_*` variables and `.env`."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingestion.errors import IngestionError


class IngestionSettings(BaseSettings):
    """Where observations come from and where they are kept."""

    model_config = SettingsConfigDict(
        env_prefix="FOREVIEW_", env_file=".env", extra="ignore", frozen=True
    )

    state_dir: Path = Path(".foreview")
    database_url: str | None = None
    database_schema: str = "foreview"
    landing_url: str | None = None
    redis_url: str | None = None
    mlflow_tracking_uri: str | None = None
    clock: str = "system"
    # How long data of the real API is kept; live collection refuses to start without it.
    retention_days: int | None = Field(default=None, ge=1)
    # How old a video may become before its features leave the online store; 0 keeps them for good.
    online_video_days: int = Field(default=400, ge=0)
    youtube_endpoint: str | None = None
    youtube_api_key: str | None = Field(default=None, validation_alias="YOUTUBE_API_KEY")

    @property
    def landing(self) -> str:
        """Give the directory or `s3://` address of the raw landing."""
        return self.landing_url or str(self.state_dir / "landing")

    @property
    def database(self) -> str:
        """Give the address of PostgreSQL; raises IngestionError where none is set."""
        if self.database_url is None:
            raise IngestionError(
                "FOREVIEW_DATABASE_URL is not set: run `foreview up` for private servers, "
                "or set it to your own PostgreSQL (postgresql://user:password@host:port/db)"
            )
        return self.database_url
