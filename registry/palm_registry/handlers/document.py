"""What the registry can be asked: the API document, and the page that shows it."""

from __future__ import annotations

from palm._version import __version__
from palm_registry.description import describes
from palm_registry.handlers.base import Base
from palm_registry.handlers.pages import STATIC
from palm_registry.openapi import Document, document
from palm_registry.scopes import ANY

__all__ = ["ApiDocument", "ApiPage"]


class ApiDocument(Base):
    """The API document, OpenAPI 3.1."""

    scopes = {"GET": ANY}

    @describes(reply=Document, summary="Return this document.")
    def get(self) -> None:
        """Return it."""
        # Made anew each time: it takes milliseconds, and few ask.
        routes = self.settings["routes"]
        self.answer(document(routes, Base, __version__, self.context.cookie))


class ApiPage(Base):
    """The page that shows the API document."""

    scopes = {"GET": ANY}

    @describes(media="text/html", summary="Show this document as a page.")
    def get(self) -> None:
        """Show it."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish((STATIC / "docs.html").read_text("utf-8"))
