"""Settings of the front door: where private servers keep their state."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class LocalSettings(BaseSettings):
    """Read from `FOREVIEW_*` variables and `.env`."""

    model_config = SettingsConfigDict(
        env_prefix="FOREVIEW_", env_file=".env", extra="ignore", frozen=True
    )

    state_dir: Path = Path(".foreview")
    database_schema: str = "foreview"
    # Recorded lists for `dvc repro`; a synthetic record when it is not set.
    snapshot: Path | None = None
