"""The application: routes, and every way in which a request can end otherwise in one shape."""

from __future__ import annotations

from itertools import chain

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route

from gateway.api import content, events, videos, webhook_endpoints
from gateway.problems import ANSWERS, Problem, away
from gateway.server import page
from schemas.errors import shorten

log = structlog.get_logger(__name__)

ABOUT = """\
Videos from words, in the shape of OpenAI's Videos API: its clients work unchanged. What the line knows beyond that is
under `x_latentline`. An accepted request is durable: it ends as `completed` or as `failed` with a reason."""
ROUTERS = (videos.router, content.router, events.router, webhook_endpoints.router, page.router)
CODES = {404: "not_found", 405: "method_not_allowed"}


def make_app() -> FastAPI:
    """Its routes find their `Gateway` in `app.state.gateway`."""
    app = FastAPI(
        title="latentline", version="1", description=ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False
    )  # fmt: skip
    for router in ROUTERS:
        app.include_router(router, responses=ANSWERS)
    app.add_exception_handler(Problem, told)
    app.add_exception_handler(events.NothingMore, told_of_nothing)
    app.add_exception_handler(RequestValidationError, told_of_parameter)
    app.add_exception_handler(HTTPException, told_by_framework)
    app.add_exception_handler(ClientDisconnect, told_to_nobody)
    app.add_exception_handler(OperationalError, told_of_database)
    app.add_exception_handler(Exception, told_of_fault)
    return app


def answer(problem: Problem) -> Response:
    return JSONResponse(problem.body, problem.status, problem.headers)


async def told(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return answer(error)


async def told_of_nothing(request: Request, error: Exception) -> Response:
    return Response(status_code=204)


async def told_of_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return answer(Problem("invalid_value", f"{name} = {shorten(first.get('input'))}: {first['msg']}", name))


async def told_by_framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(sorted(allowed(request)))
    code = CODES.get(error.status_code, "invalid_request")
    message = f"{request.method} {shorten(request.url.path)}: {error.detail}"
    return answer(Problem(code, message, headers=headers, status=error.status_code))


def allowed(request: Request) -> set[str]:
    """Methods of every route of this path, where the framework names those of the first."""
    every = chain.from_iterable(router.routes for router in ROUTERS)
    return {
        method for route in every if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }  # fmt: skip


async def told_to_nobody(request: Request, error: Exception) -> Response:
    """Whoever asked has gone."""
    return Response(status_code=400)


async def told_of_database(request: Request, error: Exception) -> Response:
    log.warning("the database does not answer", error=str(error))
    return answer(away("the gateway's database"))


async def told_of_fault(request: Request, error: Exception) -> Response:
    """It is logged with its traceback; the client learns that it is ours."""
    return answer(Problem("internal_error", "something failed here; it is logged", retry_after=1))
