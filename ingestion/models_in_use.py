"""Which feature services registered models were trained on, by MLflow's REST API."""

import json
import urllib.parse
import urllib.request
from typing import Any
from urllib.error import URLError

from ingestion.errors import IngestionError

_TIMEOUT_SECONDS = 10.0
_MOST = 1_000


class ModelsUnknown(IngestionError):
    """MLflow does not say which models there are."""


def services_in_use(tracking_uri: str | None) -> dict[str, list[str]]:
    """Give the models of each feature service that has any; none where no MLflow is named.

    Raises:
        ModelsUnknown: MLflow does not answer.
    """
    used: dict[str, list[str]] = {}
    if tracking_uri is None:
        return used
    token = ""
    while True:
        answer = _page(tracking_uri, token)
        for version in answer.get("model_versions", []):
            tags = {tag["key"]: tag["value"] for tag in version.get("tags", [])}
            if "feature_service" in tags:
                model = f"{version['name']} version {version['version']}"
                used.setdefault(tags["feature_service"], []).append(model)
        token = answer.get("next_page_token", "")
        if not token:
            return used


def _page(tracking_uri: str, token: str) -> dict[str, Any]:
    query = urllib.parse.urlencode(
        {"max_results": _MOST} | ({"page_token": token} if token else {})
    )
    address = f"{tracking_uri.rstrip('/')}/api/2.0/mlflow/model-versions/search?{query}"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_SECONDS) as response:
            return dict(json.load(response))
    except (URLError, ValueError) as error:
        raise ModelsUnknown(
            f"MLflow (FOREVIEW_MLFLOW_TRACKING_URI) does not tell which features models use: "
            f"{error}. Start it, or register with --force"
        ) from error
