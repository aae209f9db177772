"""Feast's own feature server, as `feast serve` runs it: the features alone, no model."""

from feast.feature_server import get_app

from feature_repo.store import open_feature_store
from serving.server import bind, run

if __name__ == "__main__":
    app = get_app(open_feature_store())
    run(app, bind("127.0.0.1", 0), lambda address: print(address, flush=True))  # noqa: T201
