"""Who gets in: tokens, users, and what they did."""

from __future__ import annotations

from typing import Any, Literal

from palm.registry_api.schema.base import Value

__all__ = [
    "AuditEntry",
    "AuditPage",
    "Caller",
    "LoginCode",
    "Scope",
    "TokenCreate",
    "TokenInfo",
    "TokenMade",
    "UserCreate",
    "UserInfo",
]

#: What a token may do: read; change clusters, too; what runners call; everything.
Scope = Literal["viewer", "operator", "runner", "admin"]


class TokenCreate(Value):
    """POST api/tokens. ``cluster``: the only one it is for; ``ttl``: seconds, None for ever.

    ``user`` is whose clusters it is for; left out, those of whoever asks.
    """

    name: str
    scope: str
    user: str = ""
    cluster: str = ""
    ttl: float | None = None


class TokenInfo(Value):
    """What is known of a token, but for the token itself. ``used`` is right to a minute.

    ``creator`` is the name of the token by which it was made. ``expires`` None: never. ``node``:
    the only node that it is for, "" for any.
    """

    name: str
    scope: Scope
    user: str
    created: float
    cluster: str = ""
    expires: float | None = None
    used: float | None = None
    creator: str = ""
    node: str = ""


class TokenMade(TokenInfo, kw_only=True):
    """The answer to TokenCreate: the only one that has the ``token`` itself."""

    token: str


class LoginCode(Value):
    """POST login: a path that logs a browser in, once, within ``ttl`` seconds."""

    code: str
    path: str
    ttl: float


class Caller(Value):
    """GET api/caller: who asks, and what it may do; ``cluster`` is the only one, "" for all.

    ``browser``: it is the session of a browser. ``expires`` None: the token never does.
    """

    token: str
    user: str
    scope: Scope
    cluster: str = ""
    browser: bool = False
    expires: float | None = None


class UserCreate(Value):
    """POST api/users."""

    name: str


class UserInfo(Value):
    """Somebody who has clusters of its own; ``tokens`` and ``clusters`` are their names."""

    name: str
    created: float
    creator: str = ""
    tokens: list[str] = []
    clusters: list[str] = []


class AuditEntry(Value):
    """Something that somebody did, or tried to do.

    ``what`` is method and path, ``status`` that of the answer (below 400: it was done), ``code``
    that of a refusal. ``token`` is the name of the one that was used, "" if there was none.
    """

    time: float
    what: str
    seq: int = 0
    token: str = ""
    user: str = ""
    address: str = ""
    cluster: str = ""
    status: int = 0
    code: str = ""
    details: dict[str, Any] = {}


class AuditPage(Value):
    """GET api/audit: entries in order; ``more``: ask again with ``since=cursor``.

    Of the ``latest`` ones, which are looked for backwards: ``more`` are before the first of them.
    """

    entries: list[AuditEntry]
    cursor: str
    more: bool = False
