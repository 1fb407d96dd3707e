"""Pages of other origins that may ask this server: none, unless the settings name them."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from runtime.settings import Settings

READABLE = (
    "x-request-id", "x-should-retry", "retry-after", "openai-poll-after-ms", "preference-applied", "etag",
    "accept-ranges", "content-range", "content-disposition",
)  # fmt: skip
"""Headers of answers that scripts of other origins may read."""


def origins_of(settings: Settings) -> list[str]:
    """The origins that the settings name; `*` is any."""
    return [origin.strip() for origin in settings.gateway_cors_origins.split(",") if origin.strip()]


def shared(app: ASGIApp, settings: Settings) -> ASGIApp:
    """No cookie is ever asked for, so a key is all that an origin can use."""
    origins = origins_of(settings)
    if not origins:
        return app
    return CORSMiddleware(
        app, allow_origins=origins, allow_methods=["GET", "HEAD", "POST", "DELETE"], allow_headers=["*"],
        expose_headers=READABLE, max_age=3600,
    )  # fmt: skip
