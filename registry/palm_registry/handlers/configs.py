"""The files of clusters: their versions, what they would do, and the way back."""

from __future__ import annotations

import re
from typing import Any

from palm.registry_api import schema
from palm.spec.cluster import file_schema
from palm_registry.description import Query, describes
from palm_registry.failures import Invalid
from palm_registry.handlers.base import Base
from palm_registry.service.configs import MAX_VERSIONS

__all__ = ["Check", "Config", "Diff", "FileSchema", "Rollback", "Version", "Versions"]

_TEXT = '[components.foo]\nscript = "foo.py"\n'
_FOLDER = "/home/me/project"
_ETAG = re.compile(r'"(?P<version>\d{1,18})(-(?P<digest>[0-9a-f]+))?"')


class FileSchema(Base):
    """The JSON schema of a cluster file."""

    scopes = {"GET": "viewer"}

    @describes(reply=dict[str, Any], summary="Return the JSON schema of a cluster file.")
    def get(self) -> None:
        """Return it."""
        self.answer(file_schema())


class _Files(Base):
    """What has to do with versions: each has an ETag, which ``If-Match`` may name."""

    _etag: str | None = None

    def compute_etag(self) -> str | None:
        """Return that of the version; Tornado compares it with ``If-None-Match`` of a GET."""
        return self._etag

    def answer_file(self, file: schema.ConfigFile) -> None:
        """Write a version, whose ETag would be another if the cluster were made anew."""
        self._etag = f'"{file.version}-{file.sha256[:16]}"'
        if self.request.method != "GET":
            self.set_etag_header()
        self.answer(file)

    def expected(self, given: int | None) -> tuple[int | None, str]:
        """Return the version that the caller expects, of the body or else of the header.

        Of the header there is the beginning of its digest, too.
        """
        header = self.request.headers.get("If-Match", "").strip()
        if given is not None or not header:
            return given, ""
        match = _ETAG.fullmatch(header)
        if match is None:
            raise Invalid("if-match", f"{header!r} is the ETag of no version")
        return int(match["version"]), match["digest"] or ""

    def by(self) -> str:
        """Return who asks."""
        return self.principal.user


class Config(_Files):
    """The cluster file in force."""

    scopes = {"GET": "viewer", "PUT": "operator"}

    @describes(
        Query("version", "which one, counted from 1; the latest if it is left out", "count"),
        reply=schema.ConfigFile,
        summary="Return the cluster file in force, or another version of it.",
    )
    async def get(self, key: str) -> None:
        """Return it, or another ``version``."""
        self.answer_file(await self.service.configs.get(key, self.count("version")))

    @describes(
        body=schema.ConfigPut,
        reply=schema.ConfigApplied,
        errors=(409,),
        example=schema.ConfigPut(text=_TEXT, folder=_FOLDER),
        summary="Put a cluster file in force.",
    )
    async def put(self, key: str) -> None:
        """Put another one in force."""
        request = self.body(schema.ConfigPut)
        request.expected_version, digest = self.expected(request.expected_version)
        self.answer_file(await self.service.configs.put(key, request, self.by(), digest))


class Check(Base):
    """A cluster file that is only looked at."""

    scopes = {"POST": "viewer"}
    audited = False

    @describes(
        body=schema.ConfigText,
        reply=schema.ConfigCheck,
        example=schema.ConfigText(text=_TEXT, folder=_FOLDER),
        summary="Say what a cluster file would mean, and all that is wrong with it.",
    )
    async def post(self, key: str) -> None:
        """Say what it would mean."""
        self.answer(await self.service.configs.check(key, self.body(schema.ConfigText)))


class Diff(Base):
    """What a file would do."""

    scopes = {"POST": "viewer"}
    audited = False

    @describes(
        body=schema.ConfigCompare,
        reply=schema.ConfigDiff,
        summary="Say what a file, or a version, would do to what runs.",
    )
    async def post(self, key: str) -> None:
        """Say so, without any effect."""
        self.answer(await self.service.configs.diff(key, self.body(schema.ConfigCompare)))


class Rollback(_Files):
    """The way back."""

    scopes = {"POST": "operator"}

    @describes(
        body=schema.ConfigRollback, optional_body=True, reply=schema.ConfigApplied, errors=(409,)
    )
    async def post(self, key: str) -> None:
        """Put an older version in force."""
        body = self.request.body
        request = self.body(schema.ConfigRollback) if body else schema.ConfigRollback()
        request.expected_version, digest = self.expected(request.expected_version)
        self.answer_file(await self.service.configs.rollback(key, request, self.by(), digest))


class Versions(Base):
    """All versions of the file."""

    scopes = {"GET": "viewer"}

    @describes(
        Query("before", "only those below this number", "count"),
        Query("limit", "at most so many", "count"),
        reply=list[schema.ConfigVersion],
        summary="List the versions of the cluster file, the latest first.",
    )
    async def get(self, key: str) -> None:
        """List them, the latest first: those below ``before``, at most ``limit``."""
        limit = self.count("limit", MAX_VERSIONS) or 0
        self.answer(await self.service.configs.versions(key, self.count("before"), limit))


class Version(_Files):
    """One version of the file."""

    scopes = {"GET": "viewer"}

    @describes(reply=schema.ConfigFile, summary="Return a version of the cluster file.")
    async def get(self, key: str, number: str) -> None:
        """Return it with its text."""
        self.answer_file(await self.service.configs.get(key, int(number)))
