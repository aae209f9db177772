"""A YouTube Data API v3 server for local use, over a synthetic world with its own clock."""
