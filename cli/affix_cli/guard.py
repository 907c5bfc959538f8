"""Paths of the HTTP side that are not for everybody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def shut(app: web.Application, path: str) -> None:
    """Answer 404 at a path."""
    _answer_first(app, path, lambda _: web.Response(status=HTTPStatus.NOT_FOUND))


def guard(app: web.Application, path: str, known: Callable[[web.Request], bool]) -> None:
    """Answer 401 at a path to whoever is not known by what the request shows."""

    def refuse(request: web.Request) -> web.Response | None:
        if known(request):
            return None
        return web.Response(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})

    _answer_first(app, path, refuse)


def _answer_first(app: web.Application, path: str, refuse: Callable[[web.Request], web.Response | None]) -> None:
    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = refuse(request) if request.path == path else None
        return refusal or await handler(request)

    app.middlewares.append(guarded)
