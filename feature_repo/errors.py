"""What can go wrong with the feature store itself."""


class FeatureStoreError(Exception):
    """The feature store cannot be opened or does not hold what was asked of it."""


class StoreNotConfigured(FeatureStoreError):
    """A variable that feature_store.yaml needs is not set."""


class NoFeatureTables(FeatureStoreError):
    """There are no exported feature tables where they are looked for."""


class FeaturesInUse(FeatureStoreError):
    """A view or service that a registered model uses would change."""
