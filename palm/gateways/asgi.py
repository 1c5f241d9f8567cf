"""Functions of a worker as an ASGI application."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from palm.errors import ConfigError
from palm.gateways.answers import Answer, Refused
from palm.gateways.service import MAX_BODY, Request, Served, Service

__all__ = ["asgi_app"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class _Gone(Exception):  # noqa: N818 - reads as a sentence
    """The caller left before its request was complete."""


def asgi_app(
    served: Served,
    *,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    allow_pickle: bool = False,
    max_body: int = MAX_BODY,
    threads: int = 8,
) -> Application:
    """Return an application that serves the functions of a worker, for any ASGI server on asyncio.

    Functions run in threads, at most so many at once; further requests wait. See
    `palm.gateways.service.Service` for the other parameters.

    Raises
    ------
    ConfigError
        There is nothing to serve, or no token.
    """
    if threads < 1:
        raise ConfigError(f"threads={threads}", hint="a positive number")
    service = Service(served, token, token_file, allow_pickle=allow_pickle, max_body=max_body)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="palm-asgi")

    async def application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            pool.shutdown(wait=False, cancel_futures=True)
        elif scope["type"] == "http":
            with suppress(_Gone):
                await _send(send, await _answer(service, pool, scope, receive))
        else:
            raise ValueError(f"functions are not served by {scope['type']}")

    return application


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _answer(
    service: Service, pool: ThreadPoolExecutor, scope: dict[str, Any], receive: Receive
) -> Answer:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    request = Request(scope["method"], path, headers, scope.get("scheme", "http"))
    try:
        service.refuse_early(request)
        body = await _body(service, receive)
    except Refused as refused:
        return refused.answer
    return await asyncio.get_running_loop().run_in_executor(pool, service.answer, request, body)


async def _body(service: Service, receive: Receive) -> bytes:
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise _Gone
        body += event.get("body", b"")
        if len(body) > service.max_body:
            raise service.too_large()
        if not event.get("more_body", False):
            return bytes(body)


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in answer.all_headers().items()
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
