"""Functions of a worker as a WSGI application."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from palm.gateways.answers import Answer, Refused
from palm.gateways.service import MAX_BODY, Request, Served, Service

__all__ = ["wsgi_app"]

Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


def wsgi_app(
    served: Served,
    *,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    allow_pickle: bool = False,
    max_body: int = MAX_BODY,
) -> Application:
    """Return an application that serves the functions of a worker, for any WSGI server.

    Each request runs in the thread that the server has for it, so functions run side by side if the
    server has several. See `palm.gateways.service.Service` for the parameters.

    Raises
    ------
    ConfigError
        There is nothing to serve, or no token.
    """
    service = Service(served, token, token_file, allow_pickle=allow_pickle, max_body=max_body)

    def application(environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        answer = _answer(service, environ)
        status = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        start_response(status, list(answer.all_headers().items()))
        return [answer.body]

    return application


def _answer(service: Service, environ: dict[str, Any]) -> Answer:
    request = Request(
        environ["REQUEST_METHOD"],
        # WSGI has bytes as Latin-1 texts
        environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace"),
        _headers(environ),
        environ.get("wsgi.url_scheme", "http"),
    )
    try:
        service.refuse_early(request)
        return service.answer(request, _body(service, environ, request))
    except Refused as refused:
        return refused.answer


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        headers[name.replace("_", "-").lower()] = environ.get(name) or ""
    return headers


def _body(service: Service, environ: dict[str, Any], request: Request) -> bytes:
    stream = environ["wsgi.input"]
    length = request.headers["content-length"]
    if length:
        expected = int(length)
    elif environ.get("wsgi.input_terminated"):
        expected = service.max_body + 1
    elif "transfer-encoding" in request.headers:
        raise Refused(411, "LengthRequired", "this server needs a Content-Length")
    else:
        expected = 0
    body = _read(stream, expected)
    if length and len(body) < expected:
        raise Refused(400, "BadLength", "the body is shorter than its Content-Length")
    if len(body) > service.max_body:
        raise service.too_large()
    return body


def _read(stream: Any, most: int) -> bytes:
    parts: list[bytes] = []
    while most > 0 and (part := stream.read(min(most, 1 << 20))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)
