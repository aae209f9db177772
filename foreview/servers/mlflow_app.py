"""Run the MLflow tracking server in this one process, on a socket it inherits.

`mlflow server` imports MLflow twice, ten seconds of processor time each (in the command, then in
the worker it starts), and starts helpers for jobs nobody runs here.
"""

import os
import socket
import sys


def main(artifacts: str, listening_fd: int) -> None:
    """Migrate the backend's tables, then serve until SIGTERM."""
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ["MLFLOW_ENABLE_AI_GATEWAY"] = "false"
    backend_url = os.environ.pop("MLFLOW_BACKEND_STORE_URI")

    import uvicorn
    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = backend_url
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = backend_url
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = artifacts
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"

    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(backend_url, backend_url, "mlflow-artifacts:/")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening_fd)])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
