"""Pure functions that compute features, on a batch or on a single row."""
