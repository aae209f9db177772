"""Registers features with Feast, unless that would pull something from under a model."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from feature_repo import planning
from feature_repo import store as feature_store
from ingestion.models_in_use import services_in_use

if TYPE_CHECKING:
    from feast import FeatureStore


def register(
    store: "FeatureStore",
    tracking_uri: str | None,
    in_use: Callable[[str | None], Mapping[str, list[str]]] = services_in_use,
) -> list[planning.Change]:
    """Register what the code declares; give what that changed.

    Raises:
        FeaturesInUse: A registered model was trained on what would change; nothing was changed.
        ModelsUnknown: It would change something, and MLflow does not tell who uses it.
    """
    before = planning.registered(store)
    found = planning.changes(before, planning.declared())
    known = {*before.views, *before.services}
    asked = any(change.name in known for change in found)
    feature_store.apply(store, in_use(tracking_uri) if asked else {})
    return found
