"""The floor: a FastAPI application with a single route that returns a constant model.

It runs on uvicorn as it comes, with all that makes it fast: uvloop, httptools, no access log.
"""

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from serving.server import address_of, bind


class Constant(BaseModel):
    """An answer that needs no work."""

    video_id: str
    views: int


def create_app() -> FastAPI:
    """Build the application."""
    app = FastAPI()
    constant = Constant(video_id="dQw4w9WgXcQ", views=1)

    @app.get("/constant")
    async def answer() -> Constant:
        return constant

    return app


if __name__ == "__main__":
    listener = bind("127.0.0.1", 0)
    print(address_of(listener), flush=True)  # noqa: T201 - connections wait until it accepts
    settings = {"loop": "uvloop", "http": "httptools", "log_config": None, "access_log": False}
    uvicorn.Server(uvicorn.Config(create_app(), **settings)).run(sockets=[listener])
