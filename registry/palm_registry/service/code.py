"""The code of components: taken once by content, kept while something names it, handed to nodes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from palm.registry_api.schema import Code, CodePiece
from palm.spec.cluster import ClusterConfig
from palm.spec.code import MAX_FILE, MAX_FILES, code_flaws, is_digest
from palm.spec.size import format_size
from palm_registry.failures import Conflict, Invalid, NotFound, TooLarge
from palm_registry.service.core import Core, get_cluster
from palm_registry.store import code as rows

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["CODE_QUOTA", "KEPT", "CodeRules", "check_code", "with_code"]

#: Bytes that a cluster may have of it.
CODE_QUOTA = 256 * 1024 * 1024
#: Seconds for which a content is kept that nothing names, or nothing names yet.
KEPT = 3600.0


class CodeRules:
    """Rules for the code of clusters."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def put(self, key: str, pieces: list[CodePiece]) -> None:
        """Store contents; what is there already is left alone."""
        _check_digests([piece.sha256 for piece in pieces])
        for piece in pieces:
            _check_piece(piece)
        await self._core.database.write(lambda c: _put(c, key, pieces))

    async def get(self, key: str, digest: str) -> bytes:
        """Return a content."""

        def read(connection: Connection) -> bytes:
            get_cluster(connection, key)
            found = rows.get_code(connection, key, digest)
            if found is None:
                text = f"the registry has no code {digest[:12]} of this cluster"
                raise NotFound("no-code", text, "put the cluster file in force again: palm apply")
            return found

        return await self._core.database.read(read)


def _put(connection: Connection, key: str, pieces: list[CodePiece]) -> None:
    get_cluster(connection, key)
    new = {piece.sha256: piece.data for piece in pieces}
    for known in rows.known_code(connection, key, new):
        del new[known]
    _make_room(connection, key, sum(map(len, new.values())))
    for digest, data in new.items():
        rows.add_code(connection, key, digest, data, time.time())


def _make_room(connection: Connection, key: str, size: int) -> None:
    """Refuse more than a cluster may have; what nothing names makes room."""
    if rows.size_of_code(connection, key) + size <= CODE_QUOTA:
        return
    rows.drop_code(connection, time.time() - KEPT, key)
    if rows.size_of_code(connection, key) + size > CODE_QUOTA:
        raise TooLarge(
            "code-quota",
            f"the code of a cluster has up to {format_size(CODE_QUOTA)}, all versions together",
            "let `files` name less, or delete the cluster and make it anew",
        )


def _check_digests(digests: list[str]) -> None:
    if len(digests) > MAX_FILES:
        raise Invalid("code", f"{len(digests)} files", f"at most {MAX_FILES} at once")
    for digest in digests:
        if not is_digest(digest):
            raise Invalid("code", f"{digest[:100]!r} is not a SHA-256", "64 hexadecimal digits")


def _check_piece(piece: CodePiece) -> None:
    if len(piece.data) > MAX_FILE:
        raise TooLarge("code", f"a file has up to {format_size(MAX_FILE)}")
    if hashlib.sha256(piece.data).hexdigest() != piece.sha256:
        raise Invalid("code", f"the content is not that of {piece.sha256[:12]}", "send it again")


def with_code(config: ClusterConfig, code: Mapping[str, Code]) -> ClusterConfig:
    """Give the components of a file their code."""
    for name, each in code.items():
        for field, text, hint in code_flaws(each):
            raise Invalid("code", f"{name}: {text}", hint or "", key=field)
    for name, spec in config.components.items():
        spec.code = code.get(name)
    return config


def check_code(connection: Connection, key: str, codes: Iterable[Code | None]) -> None:
    """Refuse code of which the registry lacks a content."""
    wanted = {f.sha256 for code in codes if code is not None for f in code.files.values()}
    missing = sorted(wanted - rows.known_code(connection, key, wanted))
    if missing:
        text = f"the registry does not have the content of {len(missing)} of the files"
        raise Conflict("code-missing", text, "send it first: POST .../code", missing=missing)
