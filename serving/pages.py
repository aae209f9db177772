"""The page for people and the API's documentation: static files, nothing from other hosts."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from serving.errors import ServingError

WEB = Path(__file__).parent / "web"

pages = APIRouter(include_in_schema=False)


@pages.get("/")
async def look_up() -> FileResponse:
    """Give the page where a video's forecast is looked up."""
    return FileResponse(WEB / "index.html")


@pages.get("/docs")
async def docs() -> FileResponse:
    """Give the interactive documentation of the API."""
    return FileResponse(WEB / "docs.html")


def install(app: FastAPI) -> None:
    """Serve the pages and what they load."""
    app.include_router(pages)
    app.mount("/web", StaticFiles(directory=WEB))
    app.mount("/docs/swagger", StaticFiles(directory=_swagger_directory()))


def _swagger_directory() -> Path:
    """Find Swagger UI in the package fastapi-offline: its files are used, its code is not."""
    found = find_spec("fastapi_offline")
    if found is None or found.origin is None:
        raise ServingError("fastapi-offline is not installed: install the extra `serving`")
    return Path(found.origin).parent / "static"
