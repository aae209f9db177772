"""What registering would change, feature by feature, and what a registered model forbids."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from feast import FeatureStore

Kind = Literal["added", "changed", "removed"]
Of = Literal["view", "service"]
# The type of each feature of a view; for a service, the type as its view has it.
Features = Mapping[str, str]


_MOST_NAMED = 5


class Change(NamedTuple):
    """A feature that would be added to, changed in, or removed from a view or a service."""

    kind: Kind
    of: Of
    name: str
    feature: str
    detail: str


class Registered(NamedTuple):
    """Views and services by name, each with its features; services also with the views they use."""

    views: Mapping[str, Features]
    services: Mapping[str, Features]
    used: Mapping[str, Collection[str]]


def declared() -> Registered:
    """Give what the code declares: the table of contents in repository.py."""
    from feast import FeatureService
    from feast.base_feature_view import BaseFeatureView

    from feature_repo.repository import OBJECTS

    views = [one for one in OBJECTS if isinstance(one, BaseFeatureView)]
    return _registered(views, [one for one in OBJECTS if isinstance(one, FeatureService)])


def registered(store: "FeatureStore") -> Registered:
    """Give what the registry holds."""
    views = [*store.list_batch_feature_views(), *store.list_on_demand_feature_views()]
    return _registered(views, store.list_feature_services())


def _registered(views: Collection[Any], services: Collection[Any]) -> Registered:
    def features(of: Any) -> dict[str, str]:
        return {field.name: str(field.dtype) for field in of.features}

    listed = {
        service.name: {
            f"{part.name}:{feature}": dtype
            for part in service.feature_view_projections
            for feature, dtype in features(part).items()
        }
        for service in services
    }
    used = {s.name: [part.name for part in s.feature_view_projections] for s in services}
    return Registered({view.name: features(view) for view in views}, listed, used)


def changes(before: Registered, after: Registered) -> list[Change]:
    """Give every difference, views first; a view that is new or gone counts by its features."""
    return _all_compared("view", before.views, after.views) + _all_compared(
        "service", before.services, after.services
    )


def _all_compared(
    of: Of, before: Mapping[str, Features], after: Mapping[str, Features]
) -> list[Change]:
    names = sorted(set(before) | set(after))
    return [
        change
        for name in names
        for change in _compared(of, name, before.get(name, {}), after.get(name, {}))
    ]


def _compared(of: Of, name: str, old: Features, new: Features) -> list[Change]:
    found = [
        Change("removed", of, name, feature, old[feature]) for feature in old if feature not in new
    ]
    for feature, dtype in new.items():
        if feature not in old:
            found.append(Change("added", of, name, feature, dtype))
        elif old[feature] != dtype:
            found.append(Change("changed", of, name, feature, f"{old[feature]} -> {dtype}"))
    return found


def forbidden(
    found: Collection[Change], before: Registered, services_in_use: Collection[str]
) -> list[Change]:
    """Give the changes that would pull something from under a registered model.

    The list of a service that a model was trained on never changes; of the views it reads no
    feature is removed or changed. A view may gain features: nobody reads them yet.
    """
    views = {view for service in services_in_use for view in before.used.get(service, ())}
    return [
        change
        for change in found
        if (change.of == "service" and change.name in services_in_use)
        or (change.of == "view" and change.name in views and change.kind != "added")
    ]


def refusal(
    refused: Sequence[Change], before: Registered, used_by: Mapping[str, Collection[str]]
) -> str:
    """Say which changes are forbidden, by which models, and the way out."""
    named = [f"{c.kind} {c.of} {c.name}: {c.feature} ({c.detail})" for c in refused[:_MOST_NAMED]]
    more = f", and {len(refused) - len(named)} more" if len(refused) > len(named) else ""
    touched = {change.name for change in refused}
    users = sorted(
        model
        for service, using in used_by.items()
        if service in touched or touched & set(before.used.get(service, ()))
        for model in using
    )
    of_whom = f": {', '.join(users[:_MOST_NAMED])}" if users else " for all that is known"
    return (
        f"registered models use what would change ({'; '.join(named)}{more}){of_whom}. Leave the "
        "old one as it is and add a new version beside it: a view with a new name for a feature "
        "that is computed in another way, a service such as published_v3 for another list; train "
        "on it, then retire the old models. `foreview features plan` shows every change, "
        "`foreview features apply` asks MLflow who uses what; --force registers all the same"
    )
