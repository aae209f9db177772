"""Settings of training, read from `FOREVIEW_*` variables and `.env`."""

from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic_settings import BaseSettings, SettingsConfigDict

TUNING_SCHEMA = "foreview_tuning"


class TrainingSettings(BaseSettings):
    """Where models are registered and what decides them."""

    model_config = SettingsConfigDict(
        env_prefix="FOREVIEW_", env_file=".env", extra="ignore", frozen=True
    )

    state_dir: Path = Path(".foreview")
    clock: str = "system"
    world: Literal["real", "synthetic"] | None = None
    mlflow_tracking_uri: str | None = None
    # Where the run is recorded and studies are kept; nowhere when it is not set.
    database_url: str | None = None
    database_schema: str = "foreview"
    params: Path = Path(__file__).parent / "params.yaml"
    # `manual`: a better model stays a challenger until somebody runs `foreview promote`.
    promotion: Literal["automatic", "manual"] = "automatic"

    @property
    def tuning_storage(self) -> str | None:
        """Where studies are kept: beside everything else in PostgreSQL; None where there is none.

        Optuna names no schema for its tables: the search path of the connection does.
        """
        if self.database_url is None:
            return None
        url = urlsplit(self.database_url)
        query = [*parse_qsl(url.query), ("options", f"-csearch_path={TUNING_SCHEMA}")]
        return url._replace(scheme="postgresql+psycopg2", query=urlencode(query)).geturl()
