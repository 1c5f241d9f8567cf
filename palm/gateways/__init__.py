"""Between palm and HTTP: a gateway for callers, and workers whose functions are behind a URL.

Each is loaded when it is first used: none needs the libraries of the others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palm.gateways.asgi import asgi_app
    from palm.gateways.http import Gateway
    from palm.gateways.httpworker import HttpWorker
    from palm.gateways.wsgi import wsgi_app

__all__ = ["Gateway", "HttpWorker", "asgi_app", "wsgi_app"]

_HOMES = {"Gateway": "http", "HttpWorker": "httpworker", "asgi_app": "asgi", "wsgi_app": "wsgi"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'palm.gateways' has no attribute {name!r}")
    return getattr(import_module(f"palm.gateways.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
