"""The floor: a FastAPI application with a single route that returns a constant model."""

from fastapi import FastAPI
from pydantic import BaseModel

from serving.server import bind, run


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
    run(create_app(), bind("127.0.0.1", 0), lambda address: print(address, flush=True))  # noqa: T201
