"""Who asks, and from where: tokens, sessions of browsers, one-time codes, origins and hosts.

Tokens, sessions and codes have 256 random bits, so that a plain SHA-256 of them tells nothing
and guessing is hopeless; only hashes are kept.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from palm.registry_api.schema import LoginCode
from palm_registry.attempts import Attempts
from palm_registry.connections import Connections, Principal
from palm_registry.failures import Forbidden, Unauthorised
from palm_registry.scopes import OWNER
from palm_registry.store import Database
from palm_registry.store import access as rows
from palm_registry.store.access import TokenRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "HEADERS",
    "Access",
    "Principal",
    "check_host",
    "check_next",
    "check_prefix",
    "check_origin",
    "check_xsrf",
    "digest_of",
]

#: Seconds that a one-time code is good for.
CODE_TTL = 30.0
#: Codes of a token that are open at once; the oldest go first.
MAX_CODES = 16
#: Seconds that a browser stays logged in.
SESSION_TTL = 7 * 24 * 3600.0
#: Sessions that a token may have; the oldest go first.
MAX_SESSIONS = 100
#: Characters of a prefix.
_LONG_PREFIX = 300
#: Seconds after which it is stored that a token was used.
FLUSH = 60.0

#: What `service.accounts` makes.
_TOKEN = re.compile(r"palm_[A-Za-z0-9_-]{43}")
#: Where a browser may go after its login: nothing that has a meaning but to lead somewhere.
_LOCAL = re.compile(r"[A-Za-z0-9_.#?=&%-][A-Za-z0-9_./#?=&%-]{0,500}")

_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
#: Below which path a proxy may say that it has put us: nothing that could lead elsewhere.
_PREFIX = re.compile(r"(/[A-Za-z0-9_.~%@+-]+)+/?")

#: On every answer.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class _Session:
    token: str
    expires: float


@dataclass(frozen=True)
class _Code:
    token: str
    ends: float


class Access:
    """Who may talk to the registry; belongs to the event loop.

    `begin` comes first, `close` last; `sweep` is to be called several times a second.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens: dict[str, TokenRow] = {}
        self._sessions: dict[str, _Session] = {}
        self._codes: dict[str, _Code] = {}
        self._used: dict[str, float] = {}
        self._flushed = time.monotonic()
        self._attempts = Attempts()
        self.connections = Connections()

    async def begin(self, owner: str) -> None:
        """Load what is known, with the owner's token as it is now."""
        digest = digest_of(owner)

        def write(connection: Connection) -> None:
            now = time.time()
            _put_owner(connection, digest, now)
            self._tokens = {row.hash: row for row in rows.all_tokens(connection)}
            rows.delete_sessions(connection, now)
            found = rows.all_sessions(connection)
            self._sessions = {key: _Session(*value) for key, value in found.items()}

        await self._database.write(write)

    async def close(self) -> None:
        """Store what is only in memory so far."""
        await self._flush()

    async def sweep(self) -> None:
        """End what goes on for longer than it may, and forget what is over."""
        now = time.time()
        self.connections.cut(lambda principal: not self._holds(principal, now))
        if time.monotonic() - self._flushed >= FLUSH:
            await self._flush()

    async def _flush(self) -> None:
        self._flushed = time.monotonic()
        now = time.time()
        over = [key for key, session in self._sessions.items() if session.expires <= now]
        used, self._used = self._used, {}
        if not (over or used):
            return

        def write(connection: Connection) -> None:
            rows.set_used(connection, used)
            rows.delete_sessions(connection, now)

        await self._database.write(write)
        for key in over:
            self._sessions.pop(key, None)

    # ---- who asks

    def of_token(self, token: str) -> Principal:
        """Return who has a token."""
        digest, now = digest_of(token), time.time()
        row = self._tokens.get(digest)
        # The search by a hash tells nothing that helps to find what has it; nor does this.
        if row is None or not hmac.compare_digest(row.hash, digest):
            raise Unauthorised("token", "the registry does not know this token")
        if _is_over(row, now):
            raise Unauthorised("token-expired", "this token is too old", "ask for another one")
        self._note_use(row, now)
        return _principal(row)

    def of_session(self, session: str) -> Principal:
        """Return who has the session of a browser."""
        digest, now = digest_of(session), time.time()
        found = self._sessions.get(digest)
        row = self._tokens.get(found.token) if found is not None else None
        if found is None or row is None or found.expires <= now or _is_over(row, now):
            raise Unauthorised("session", "you are not logged in", "run: palm ui")
        self._note_use(row, now)
        return replace(_principal(row), session=digest, xsrf=_xsrf(session))

    def fail(self, address: str) -> tuple[int, bool]:
        """Count somebody who did not get in; return for how many seconds to send an address away.

        And whether that begins now. 0 seconds: it may go on.
        """
        wait, news = self._attempts.fail(address, time.monotonic())
        return math.ceil(wait), news

    def _note_use(self, row: TokenRow, now: float) -> None:
        if row.used is None or now - row.used >= FLUSH:
            row.used = self._used[row.hash] = now

    def _holds(self, principal: Principal, now: float) -> bool:
        row = self._tokens.get(principal.digest)
        if row is None or _is_over(row, now):
            return False
        session = self._sessions.get(principal.session)
        return not principal.session or (session is not None and session.expires > now)

    def end_of(self, principal: Principal) -> float | None:
        """Return when somebody is let in no more, None for never."""
        row = self._tokens.get(principal.digest)
        session = self._sessions.get(principal.session)
        ends = [each.expires for each in (row, session) if each is not None]
        return min((end for end in ends if end is not None), default=None)

    # ---- tokens

    def tokens(self) -> list[TokenRow]:
        """Return all tokens by name, also those that are over."""
        return sorted(self._tokens.values(), key=lambda row: row.name)

    def admit(self, row: TokenRow) -> None:
        """Let in who has a token that was stored."""
        self._tokens[row.hash] = row

    def limit(self, digest: str, expires: float) -> None:
        """Let whoever has a token go on only for so long, as it was stored."""
        row = self._tokens.get(digest)
        if row is not None:
            row.expires = expires

    def expel(self, digests: Collection[str]) -> None:
        """Let nobody in any more who has one of these tokens, and end what goes on for them."""
        for digest in digests:
            self._tokens.pop(digest, None)
            self._used.pop(digest, None)
        self._sessions = {k: s for k, s in self._sessions.items() if s.token in self._tokens}
        self._codes = {k: c for k, c in self._codes.items() if c.token in self._tokens}
        self.connections.cut(lambda principal: principal.digest in digests)

    def hide(self, text: str) -> str:
        """Return a text without the tokens that somebody put into it by mistake."""
        parts = ("..." if digest_of(part) in self._tokens else part for part in text.split("/"))
        return _TOKEN.sub("palm_...", "/".join(parts))

    # ---- browsers

    def new_code(self, principal: Principal) -> LoginCode:
        """Return a code that logs a browser in, once, to do what the token may do that asks."""
        now = time.monotonic()
        self._codes = {key: code for key, code in self._codes.items() if code.ends > now}
        mine = [key for key, code in self._codes.items() if code.token == principal.digest]
        for key in mine[: max(0, len(mine) + 1 - MAX_CODES)]:
            del self._codes[key]
        code = secrets.token_urlsafe(32)
        self._codes[digest_of(code)] = _Code(principal.digest, now + CODE_TTL)
        return LoginCode(code=code, path=f"login?code={code}", ttl=CODE_TTL)

    async def redeem(self, code: str) -> tuple[str, Principal]:
        """Return a new session for a one-time code, and who has it."""
        found = self._codes.pop(digest_of(code), None)
        row = self._tokens.get(found.token) if found is not None else None
        if found is None or row is None or found.ends <= time.monotonic():
            raise Forbidden("code", "this link was used before, or is too old", "run: palm ui")
        session, expires = secrets.token_urlsafe(32), time.time() + SESSION_TTL
        digest = digest_of(session)
        await self._database.write(lambda c: rows.add_session(c, digest, row.hash, expires))
        self._sessions[digest] = _Session(row.hash, expires)
        await self._end_oldest(row.hash)
        return session, replace(_principal(row), session=digest, xsrf=_xsrf(session))

    async def _end_oldest(self, token: str) -> None:
        mine = [key for key, session in self._sessions.items() if session.token == token]
        mine.sort(key=lambda key: self._sessions[key].expires)
        for digest in mine[:-MAX_SESSIONS]:
            await self._end(digest)

    async def end_session(self, session: str) -> None:
        """Log a browser out, and end what goes on for it."""
        await self._end(digest_of(session))

    async def _end(self, digest: str) -> None:
        self._sessions.pop(digest, None)
        await self._database.write(lambda c: rows.delete_session(c, digest))
        self.connections.cut(lambda principal: principal.session == digest)


def _put_owner(connection: Connection, digest: str, now: float) -> None:
    """Let the owner be a user, with the one token that is in the owner's file."""
    if rows.get_user(connection, OWNER) is None:
        rows.add_user(connection, rows.UserRow(name=OWNER, created=now))
    known = next((row for row in rows.all_tokens(connection) if row.name == OWNER), None)
    if known is not None and known.hash == digest:
        return
    if known is not None:
        rows.delete_token(connection, known.hash)
    row = TokenRow(hash=digest, name=OWNER, scope="admin", created=now, owner=OWNER)
    rows.add_token(connection, row)


def _principal(row: TokenRow) -> Principal:
    return Principal(row.name, row.scope, row.owner, row.cluster, row.hash, row.node)


def _is_over(row: TokenRow, now: float) -> bool:
    return row.expires is not None and row.expires <= now


def check_xsrf(principal: Principal, sent: str | None) -> None:
    """Refuse a change that a browser's session did not mean to make."""
    if principal.xsrf and not hmac.compare_digest(principal.xsrf.encode(), (sent or "").encode()):
        raise Forbidden("xsrf", "the X-XSRF-Token of this session is missing or wrong")


def check_host(host: str, allowed: Collection[str]) -> None:
    """Refuse a name that is not ours: a foreign page may have made it lead here.

    No page from elsewhere has one of the names of loopback. Behind a proxy on this machine, as
    that of Jupyter, they come with the port of the proxy.
    """
    if host.lower() not in allowed and not _LOOPBACK.fullmatch(host.lower()):
        raise Forbidden("host", "the registry is not known by this name")


def check_origin(origin: str | None, scheme: str, host: str) -> None:
    """Refuse what a page from elsewhere asks for."""
    own = {f"{scheme}://{host.lower()}", f"https://{host.lower()}"}  # a proxy may speak TLS for us
    if origin is not None and origin.lower() not in own:
        raise Forbidden("origin", "pages from elsewhere may not use the registry")


def check_next(path: str) -> str:
    """Return where a browser goes after its login: `path`, if that is below us, else the page."""
    parts = urlsplit(path) if _LOCAL.fullmatch(path) else None
    if parts is None or parts.scheme or parts.netloc or ".." in path or "//" in path:
        return "./"
    return f"./{path}"


def check_prefix(prefix: str) -> str:
    """Return the path below which a proxy has put us, with a slash at its end; "" if in doubt.

    Anybody can send such a header; what it may do is to lead to another path of the same host.
    """
    if len(prefix) > _LONG_PREFIX or ".." in prefix or not _PREFIX.fullmatch(prefix):
        return ""
    return f"{prefix.rstrip('/')}/"


def digest_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _xsrf(session: str) -> str:
    return hmac.digest(session.encode(), b"xsrf", "sha256").hex()
