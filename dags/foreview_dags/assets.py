"""The data that DAGs hand on: who writes one of these starts whoever waits for it."""

from airflow.sdk import Asset

OBSERVATIONS = Asset("foreview://warehouse/observations")
FEATURE_ROWS = Asset("foreview://offline-store/feature-rows")
ONLINE_FEATURES = Asset("foreview://online-store/features")
OUTCOMES = Asset("foreview://warehouse/outcomes")
MODEL = Asset("foreview://registry/model")
DRIFT = Asset("foreview://warehouse/drift")
