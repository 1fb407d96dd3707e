"""The page for people: static files, and in development the key that everybody knows."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from gateway.dependencies import TheGateway
from gateway.development_key import foreign_because, has_development_key
from gateway.problems import Problem
from runtime.settings import DEFAULT_KEY

FOLDER = Path(__file__).parents[1] / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {"": "index.html"} | {file.name: file.name for file in FOLDER.iterdir() if file.suffix in (".css", ".js")}

router = APIRouter(include_in_schema=False)


@router.get("/page.json", name="page")
async def settings(request: Request, gateway: TheGateway) -> Response:
    """What the page cannot know: the development key, for a page of this machine. No other key is ever told."""
    known = has_development_key(gateway.settings) and foreign_because(gateway.settings, request.headers) is None
    return JSONResponse({"key": DEFAULT_KEY if known else ""})


@router.get("/", name="page")
@router.get("/{name}", name="page")
async def file(name: str = "") -> Response:
    if name not in FILES:
        raise Problem("not_found", "there is nothing here; the API is under /v1")
    return FileResponse(FOLDER / FILES[name], headers={"content-security-policy": POLICY, "cache-control": "no-cache"})
