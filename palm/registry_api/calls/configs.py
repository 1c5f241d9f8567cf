"""Calls about cluster files, their versions, and the code they name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from palm.registry_api import schema
from palm.registry_api.calls.base import Calls, of_cluster

__all__ = ["ConfigCalls"]


class ConfigCalls(Calls):
    """What may be asked about cluster files."""

    def set_cluster(
        self,
        key: str,
        text: str,
        file: str = "cluster.toml",
        folder: str = "",
        *,
        expected_version: int | None = None,
        note: str = "",
        code: dict[str, schema.Code] | msgspec.UnsetType = msgspec.UNSET,
    ) -> schema.ConfigApplied:
        """Put a cluster file in force; relative paths in it begin at `folder`.

        With `expected_version` only if that version is in force (0: none is), else `Refused` has
        the code "version". `code` are the files of its components, which `send_code` has handed
        in; left out, it stays as it is.
        """
        request = schema.ConfigPut(
            text=text, file=file, folder=folder, expected_version=expected_version, note=note,
            code=code,
        )  # fmt: skip
        return self._call("PUT", of_cluster(key, "config"), schema.ConfigApplied, request)

    def check_config(
        self, key: str, text: str, file: str = "cluster.toml", folder: str = ""
    ) -> schema.ConfigCheck:
        """Say what a cluster file would mean."""
        request = schema.ConfigText(text=text, file=file, folder=folder)
        path = of_cluster(key, "config", "check")
        return self._call("POST", path, schema.ConfigCheck, request, repeat=True)

    def diff_config(
        self,
        key: str,
        text: str | None = None,
        file: str = "cluster.toml",
        folder: str = "",
        *,
        version: int | None = None,
        against: int | None = None,
        code: dict[str, schema.Code] | msgspec.UnsetType = msgspec.UNSET,
    ) -> schema.ConfigDiff:
        """Say what a text, or else a version, would change of what is wanted now.

        With `against`, what it changes of that version. Nothing is done.
        """
        request = schema.ConfigCompare(
            text=text, file=file, folder=folder, version=version, against=against, code=code
        )
        path = of_cluster(key, "config", "diff")
        return self._call("POST", path, schema.ConfigDiff, request, repeat=True)

    def rollback_config(
        self,
        key: str,
        version: int | None = None,
        *,
        expected_version: int | None = None,
        note: str = "",
    ) -> schema.ConfigApplied:
        """Put an older version in force again, as a new one; None is the one before. Not repeated.

        `expected_version` is as in `set_cluster`.
        """
        request = schema.ConfigRollback(
            version=version, expected_version=expected_version, note=note
        )
        return self._call(
            "POST", of_cluster(key, "config", "rollback"), schema.ConfigApplied, request
        )

    def config_versions(
        self, key: str, *, before: int | None = None, limit: int | None = None
    ) -> list[schema.ConfigVersion]:
        """Return the versions of the cluster file, the latest first; `before` goes on from one."""
        path = of_cluster(key, "config", "versions", query={"before": before, "limit": limit})
        return self._call("GET", path, list[schema.ConfigVersion])

    def config_version(self, key: str, version: int) -> schema.ConfigFile:
        """Return a version of the cluster file with its text."""
        return self._call(
            "GET", of_cluster(key, "config", "versions", str(version)), schema.ConfigFile
        )

    def cluster_config(self, key: str) -> schema.ConfigFile:
        """Return the cluster file that is in force."""
        return self._call("GET", of_cluster(key, "config"), schema.ConfigFile)

    def send_code(self, key: str, pieces: Sequence[schema.CodePiece]) -> None:
        """Hand in contents of files; may be repeated."""
        self._call("POST", of_cluster(key, "code"), None, list(pieces), repeat=True, packed=True)

    def fetch_code(self, key: str, digest: str) -> bytes:
        """Return the content of a file, as the registry says; to be checked by who uses it."""
        return self._call(
            "GET", of_cluster(key, "code", digest), schema.CodePiece, packed=True
        ).data
