"""The page for people: static files, and in development the key that everybody knows."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, JSONResponse

from streams.gateway.gateway import TheGateway
from streams.gateway.problems import Problem

FOLDER = Path(__file__).parent / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {"": "index.html"} | {file.name: file.name for file in FOLDER.iterdir() if file.suffix in (".css", ".js")}

router = APIRouter(include_in_schema=False)


@router.get("/page.json", name="page")
async def settings(gateway: TheGateway) -> Response:
    """What the page cannot know: the default key, where it is no secret."""
    development = gateway.settings.gateway_mode == "development"
    return JSONResponse({"key": gateway.settings.gateway_default_key.get_secret_value() if development else ""})


@router.get("/", name="page")
@router.get("/{name}", name="page")
async def file(name: str = "") -> Response:
    if name not in FILES:
        raise Problem("not_found", "there is nothing here; the API is under /v1")
    return FileResponse(FOLDER / FILES[name], headers={"content-security-policy": POLICY, "cache-control": "no-cache"})
