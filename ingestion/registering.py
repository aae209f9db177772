"""Registers features with Feast, unless that would pull something from under a model."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from feature_repo import planning
from feature_repo import store as feature_store
from ingestion.errors import IngestionError
from ingestion.models_in_use import services_in_use

if TYPE_CHECKING:
    from feast import FeatureStore

_MOST_NAMED = 5


class FeaturesInUse(IngestionError):
    """A view or service that a registered model uses would change."""


def register(
    store: "FeatureStore",
    tracking_uri: str | None,
    in_use: Callable[[str | None], dict[str, list[str]]] = services_in_use,
) -> list[planning.Change]:
    """Register what the code declares; give what that changed.

    Raises:
        FeaturesInUse: A registered model was trained on what would change; nothing was changed.
        ModelsUnknown: It would change something, and MLflow does not tell who uses it.
    """
    before = planning.registered(store)
    found = planning.changes(before, planning.declared())
    known = {*before.views, *before.services}
    if any(change.name in known for change in found):
        models = in_use(tracking_uri)
        refused = planning.forbidden(found, before, models)
        if refused:
            raise FeaturesInUse(_refusal(refused, before, models))
    feature_store.apply(store)
    return found


def _refusal(
    refused: list[planning.Change], before: planning.Registered, models: dict[str, list[str]]
) -> str:
    named = [f"{c.kind} {c.of} {c.name}: {c.feature} ({c.detail})" for c in refused[:_MOST_NAMED]]
    more = f", and {len(refused) - len(named)} more" if len(refused) > len(named) else ""
    touched = {change.name for change in refused}
    users = sorted(
        model
        for service, using in models.items()
        if service in touched or touched & set(before.used.get(service, ()))
        for model in using
    )
    return (
        f"registered models use what would change ({'; '.join(named)}{more}): "
        f"{', '.join(users[:_MOST_NAMED])}. Leave the old one as it is and add a new version "
        "beside it: a view with a new name for a feature that is computed in another way, a "
        "service such as published_v3 for another list; train on it, then retire the old models. "
        "`foreview features plan` shows every change; --force registers all the same"
    )
