"""The page, its files, and how a browser logs in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from palm._version import __version__
from palm.registry_api import schema
from palm_registry import security
from palm_registry.description import Query, describes
from palm_registry.failures import Forbidden, NotFound, TooMany, Unauthorised
from palm_registry.handlers.base import Base, Context
from palm_registry.scopes import ANY

__all__ = ["STATIC", "Health", "Login", "Logout", "Nothing", "Page", "Static"]

STATIC = Path(__file__).parents[1] / "static"


class Page(Base):
    """The page itself."""

    scopes = {"GET": "viewer"}

    @describes(media="text/html", summary="Show the page.")
    def get(self) -> None:
        """Show it, or how to get in."""
        self._show("page.html")

    def _show(self, file: str) -> None:
        # Relative, unless the proxy in front says where we are: then the address of the page may
        # lack the slash at its end, and what is relative would lead elsewhere.
        base = security.check_prefix(self.request.headers.get("X-Forwarded-Prefix", ""))
        text = (STATIC / file).read_text("utf-8").replace("{{base}}", base)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(text.replace("{{xsrf}}", self.principal.xsrf))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Show people how to get in; programs get what they always get."""
        wants_page = "text/html" in self.request.headers.get("Accept", "")
        if wants_page and isinstance(kwargs.get("exc_info", (0, 0))[1], Unauthorised | TooMany):
            self._show("login.html")
        else:
            super().write_error(status_code, **kwargs)


class Health(Base):
    """Whether the registry is there; says nothing else, and so is open to all."""

    open_to_all = True

    @describes(reply=schema.Health, summary="Say whether the registry is there.")
    def get(self) -> None:
        """Say so."""
        self.answer(
            schema.Health(
                status="ok",
                version=__version__,
                api=schema.API,
                api_oldest=schema.API_OLDEST,
            )
        )


class Login(Base):
    """One-time codes, and what a browser gets for one."""

    scopes = {"POST": "viewer"}

    async def admit(self) -> None:
        """Let in who has a code, and who has a token to get one."""
        self.open_to_all = self.request.method == "GET"
        await super().admit()

    @describes(reply=schema.LoginCode, status=201, summary="Make a code that lets a browser in.")
    def post(self) -> None:
        """Make a code, for who has a token."""
        if self.principal.session:
            raise Unauthorised("token", "a browser cannot let another one in")
        self.answer(self.context.access.new_code(self.principal), 201)

    @describes(
        Query("code", "the one-time code"),
        Query("next", "where it leads to, below the page"),
        status=303,
        errors=(400,),
        open_to_all=True,
        summary="Let a browser in that has a code, and lead it to the page.",
    )
    async def get(self) -> None:
        """Take a code, and lead to the page, or to ``next`` below it, with a clean address."""
        try:
            session, self.principal = await self.context.access.redeem(
                self.get_query_argument("code", "")
            )
        except Forbidden:
            self.fail()
            raise
        self.set_cookie(
            self.context.cookie,
            session,
            httponly=True,
            samesite="Strict",
            secure=self.context.scheme == "https",
            path="/",
            expires_days=security.SESSION_TTL / 86400,
        )
        self.redirect(security.check_next(self.get_query_argument("next", "")), status=303)
        self.note(self.get_status())


class Logout(Base):
    """The end of a browser's session."""

    scopes = {"POST": ANY}

    @describes(summary="Log a browser out.")
    async def post(self) -> None:
        """End it."""
        session = self.get_cookie(self.context.cookie)
        if session and self.principal.xsrf:
            self.context.access.connections.discard(self)  # this one is to be answered
            await self.context.access.end_session(session)
        self.clear_cookie(self.context.cookie, path="/")
        self.nothing()


class Static(Base, StaticFileHandler):
    """Files of the page."""

    scopes = {"GET": "viewer", "HEAD": "viewer"}

    def initialize(self, context: Context) -> None:  # type: ignore[override]
        """Know where they are."""
        Base.initialize(self, context)
        StaticFileHandler.initialize(self, str(STATIC))

    @describes(media="*/*", status=(200, 304), summary="Send a file of the page.")
    async def get(self, path: str, include_body: bool = True) -> None:
        """Send one."""
        await super().get(path, include_body)

    def set_extra_headers(self, path: str) -> None:
        """Let a browser ask each time whether a file is another."""
        self.set_header("Cache-Control", "no-cache")


class Nothing(Base):
    """Every other address."""

    audited = False

    async def admit(self) -> None:
        """Say that there is nothing, to those who may know."""
        await super().admit()
        raise NotFound("no-such-address", "there is nothing here")
