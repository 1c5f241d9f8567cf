"""Cluster files: their versions, what another one would change, and the code they name."""

from __future__ import annotations

import msgspec

from palm.registry_api.schema.base import Value
from palm.spec.component import Code, ComponentSpec
from palm.spec.diff import Diff

__all__ = [
    "CodePiece",
    "ConfigApplied",
    "ConfigCheck",
    "ConfigCompare",
    "ConfigDiff",
    "ConfigFile",
    "ConfigPut",
    "ConfigRollback",
    "ConfigText",
    "ConfigVersion",
    "Problem",
]


class ConfigText(Value):
    """A cluster file, in TOML. ``file`` is for messages; ``folder`` resolves relative paths."""

    text: str
    file: str = "cluster.toml"
    folder: str = ""


class ConfigPut(ConfigText):
    """PUT .../config. ``expected_version`` is the one in force that the caller has seen, 0: none.

    If another is in force, nothing is done, and the answer is 409 "version". ``note`` says why.
    ``code`` are the files of its components, which POST .../code has taken before; who leaves it
    out keeps those of the version in force.
    """

    expected_version: int | None = None
    note: str = ""
    code: dict[str, Code] | msgspec.UnsetType = msgspec.UNSET


class ConfigRollback(Value):
    """POST .../config/rollback: ``version`` None is the one before that in force."""

    version: int | None = None
    expected_version: int | None = None
    note: str = ""


class ConfigVersion(Value):
    """A version of the cluster file, from 1; ``size`` is in bytes, ``by`` is who put it there."""

    version: int
    file: str = "cluster.toml"
    folder: str = ""
    created: float = 0.0
    by: str = ""
    note: str = ""
    size: int = 0
    sha256: str = ""
    in_force: bool = False


class ConfigFile(ConfigVersion):
    """A version of the cluster file with its text, and the files of its components."""

    text: str = ""
    code: dict[str, Code] = {}


class ConfigApplied(ConfigFile):
    """What is in force by now. ``changed``: it is another version than before.

    ``diff`` is what became of the components.
    """

    changed: bool = False
    diff: Diff = msgspec.field(default_factory=Diff)


class ConfigCompare(Value):
    """POST .../config/diff: what putting a file in force would do, without any effect.

    The file is ``text`` (with ``file`` and ``folder``), or else ``version``, the one in force if
    both are left out. It is compared with what is wanted now; with ``against``, with that version.
    """

    text: str | None = None
    file: str = "cluster.toml"
    folder: str = ""
    version: int | None = None
    against: int | None = None
    code: dict[str, Code] | msgspec.UnsetType = msgspec.UNSET


class CodePiece(Value):
    """What is in one file of a component."""

    sha256: str
    data: bytes


class ConfigDiff(Value):
    """``unified`` compares the texts of two files; ``before`` and ``after`` are their versions.

    Version 0: there is no such file, or it is no version yet.
    """

    diff: Diff
    before: int = 0
    after: int = 0
    unified: str = ""


class Problem(Value):
    """Why a cluster file cannot be used; ``line`` counts from 1."""

    text: str
    file: str | None = None
    line: int | None = None
    key: str | None = None
    hint: str | None = None


class ConfigCheck(Value):
    """What a cluster file would mean, or what is wrong with it."""

    valid: bool
    problems: list[Problem] = []
    components: list[ComponentSpec] = []
