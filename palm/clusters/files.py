"""Cluster files on their way into force: read, put in force, and what gave up tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from palm.clusters.code import read_code, sending_code
from palm.errors import ConfigError
from palm.registry_api import schema
from palm.registry_api.client import RegistryClient
from palm.spec.cluster import ClusterConfig, check_cluster, parse_cluster

__all__ = ["ClusterFile", "Diff", "gave_up", "put_file", "try_again"]


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """The text of a cluster file; ``folder`` is where its relative paths begin."""

    text: str
    name: str = "cluster.toml"
    folder: str = ""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return a file's text.

        Raises
        ------
        ConfigError
            It cannot be read, or is no text.
        """
        file = Path(path)
        try:
            return cls(file.read_text("utf-8"), str(path), str(file.absolute().parent))
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file} is not UTF-8 text") from error

    def check(self) -> tuple[ClusterConfig | None, list[ConfigError]]:
        """Return what it says, None if that can't be told, and all that is wrong with it."""
        return check_cluster(self.text, self.name, self.folder)

    def code(self) -> dict[str, schema.Code]:
        """Return the files of its components as they are now; raise as `parse_cluster` does."""
        config = parse_cluster(self.text, self.name, self.folder)
        return read_code(config, self.folder) if self.folder else {}


@dataclass(frozen=True, slots=True)
class Diff:
    """What a cluster file changed: names of components."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @classmethod
    def between(
        cls,
        before: Mapping[str, schema.ComponentStatus],
        after: Mapping[str, schema.ComponentStatus],
    ) -> Self:
        """Compare the components of a cluster, by name, at two moments."""
        # What is no longer declared is listed, too, until it has ended; nothing of it is desired.
        old = {name for name, each in before.items() if each.desired}
        new = {name for name, each in after.items() if each.desired}
        return cls(
            added=tuple(n for n in after if n in new - old),
            changed=tuple(n for n in after if n in new & old and _differs(before[n], after[n])),
            removed=tuple(n for n in before if n in old - new),
        )

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)

    def __repr__(self) -> str:
        parts = [f"+ {name}" for name in self.added]
        parts += [f"changed {name}" for name in self.changed]
        parts += [f"\N{MINUS SIGN} {name}" for name in self.removed]
        return ", ".join(parts) or "nothing changed"


def put_file(
    registry: RegistryClient,
    cluster: str,
    file: ClusterFile,
    *,
    expected_version: int | None = None,
    note: str = "",
) -> schema.ConfigApplied:
    """Put a cluster file in force, with the files of its components as they are now."""
    code = file.code()
    return sending_code(
        registry,
        cluster,
        code,
        lambda: registry.set_cluster(
            cluster, file.text, file.name, file.folder,
            expected_version=expected_version, note=note, code=code,
        ),
    )  # fmt: skip


def try_again(registry: RegistryClient, cluster: str) -> list[schema.ComponentStatus]:
    """Start what gave up of a cluster's file: by now, what it lacked may be there.

    Returns those that are started again, as they are then.
    """
    return [
        registry.restart(cluster, each.name)
        for each in registry.components(cluster)
        if not each.owner and gave_up(each)
    ]


def gave_up(component: schema.ComponentStatus) -> bool:
    """Whether a process that is wanted has failed for good."""
    wanted = [r for r in component.replicas if r.replica < component.desired]
    return any(r.state == "failed" and r.generation == component.generation for r in wanted)


def _differs(before: schema.ComponentStatus, after: schema.ComponentStatus) -> bool:
    return (before.generation, before.desired) != (after.generation, after.desired)
