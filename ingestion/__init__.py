"""From the YouTube Data API to raw landing, warehouse and feature tables."""
