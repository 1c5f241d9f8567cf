"""The code of components: what clients hand in, and nodes fetch."""

from __future__ import annotations

from palm.registry_api import schema
from palm_registry.description import describes
from palm_registry.handlers.base import Base
from palm_registry.scopes import ANY

__all__ = ["Code", "CodeFile"]

_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Code(Base):
    """Contents of files."""

    scopes = {"POST": "operator"}

    @describes(
        body=list[schema.CodePiece],
        example=[schema.CodePiece(sha256=_EMPTY, data=b"")],
        summary="Store contents of files, for components that are to be put in force.",
    )
    async def post(self, key: str) -> None:
        """Store them."""
        pieces = self.body(list[schema.CodePiece])
        self.details = {"files": len(pieces)}
        await self.service.code.put(key, pieces)
        self.nothing()


class CodeFile(Base):
    """One content."""

    scopes = {"GET": ANY}

    @describes(reply=schema.CodePiece, summary="Return the content of a file, by its SHA-256.")
    async def get(self, key: str, digest: str) -> None:
        """Return it."""
        data = await self.service.code.get(key, digest)
        self.answer(schema.CodePiece(sha256=digest, data=data))
