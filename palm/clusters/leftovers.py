"""What dead processes left behind, and its removal.

Nothing is removed that may be in use or is not stored yet, and each thing is looked at once more at
its removal: components, runners and registries may start at any moment. Lock files are never
removed: somebody may have opened one and be about to lock it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from palm.runner.adoption import RunnerLock, left_behind
from palm.runner.ending import end_processes
from palm.runner.local import node_name
from palm.runner.spool import Spool, SpoolState, list_spools
from palm.runtime.folders import Folders
from palm.runtime.metrics import prune_metrics
from palm.runtime.records import (
    ComponentRecord,
    process_environment,
    prune_records,
    sort_records,
)
from palm.transport.security import is_listening

__all__ = ["YOUNG", "ClusterState", "Leftover", "Leftovers", "clusters_here"]

#: What is known of a cluster. Of one that is "unknown" all is kept that it could need.
ClusterState = Literal["alive", "ended", "unknown"]
Kind = Literal["process", "record", "socket", "metrics", "kernel", "cell", "stage", "output", "log"]

#: Seconds in which a file may be the beginning of something.
YOUNG = 10.0
#: Seconds that a process has to end by itself.
_GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing: a file, a folder, or a process with its ``pid``. ``size`` is in bytes."""

    kind: Kind
    cluster: str
    name: str
    why: str
    path: str = ""
    pid: int | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A process that nobody wants, as its spool knows it."""

    state: SpoolState

    @property
    def record(self) -> ComponentRecord:
        state = self.state
        return ComponentRecord(
            name=state.name,
            role=state.role,
            instance=state.instance,
            pid=state.pid,
            start_time=state.start_time,
            identity=state.identity,
        )


def clusters_here(folders: Folders) -> list[str]:
    """The clusters that have something in these folders, on this machine."""
    found = {path.parent.name for path in folders.run.glob("*/components")}
    found |= {state.cluster for _, state in list_spools(folders.state / "spool")}
    return sorted(found)


class Leftovers:
    """Finds what the dead left in the folders of a user, and clears it away.

    Parameters
    ----------
    state_of
        Says whether a cluster, by its name, goes on.
    registry
        Address of the registry that was asked; "" if none was. A process that was started for
        another one is left alone.
    """

    def __init__(
        self,
        folders: Folders,
        state_of: Callable[[str], ClusterState],
        registry: str = "",
        *,
        young: float = YOUNG,
    ) -> None:
        self._folders = folders
        self._state_of = state_of
        self._registry = registry.rstrip("/")
        self._young = young
        #: What was not stored by any registry, of processes that are gone.
        self.unstored: list[Leftover] = []

    def find(self, clusters: Iterable[str] | None = None) -> list[Leftover]:
        """Return what can go, by cluster; nothing is changed."""
        self.unstored = []
        names = clusters_here(self._folders) if clusters is None else list(clusters)
        found = [each for name in names for each in self._in_cluster(name)]
        return found if clusters is not None else [*found, *self._logs("", self._folders.state)]

    def clear(self, found: Iterable[Leftover]) -> tuple[list[Leftover], list[Leftover]]:
        """Remove what `find` has found; return what is gone, and what stays.

        What stays is in use by now, or the system refuses.
        """
        gone: list[Leftover] = []
        kept: list[Leftover] = []
        groups = groupby(found, key=lambda each: (each.kind, each.cluster))
        for (kind, cluster), group in groups:
            still = {(each.path, each.pid) for each in self._again(kind, cluster)}
            for each in group:
                removed = (each.path, each.pid) in still and self._removes(each)
                (gone if removed else kept).append(each)
        return gone, kept

    def _again(self, kind: Kind, cluster: str) -> Iterator[Leftover]:
        if kind == "log" and not cluster:
            return self._logs("", self._folders.state)
        return _FINDERS[kind](self, cluster)

    def _removes(self, found: Leftover) -> bool:
        try:
            return self._remove(found)
        except OSError:
            return False

    def _remove(self, found: Leftover) -> bool:
        path = Path(found.path)
        if found.kind == "process":
            return self._end(found)
        if found.kind == "record":
            prune_records(path.parent, [path])
        elif found.kind == "metrics":
            prune_metrics(path)
        elif found.kind == "socket":
            return remove_socket(path)
        elif found.kind == "output":
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return not path.exists()

    def _end(self, found: Leftover) -> bool:
        for orphan in self._orphans(found.cluster):
            if orphan.state.pid == found.pid:
                return not end_processes([orphan.record], _GRACE)
        return True

    # Finding

    def _in_cluster(self, cluster: str) -> Iterator[Leftover]:
        for find in dict.fromkeys(_FINDERS.values()):
            yield from find(self, cluster)

    def _run(self, cluster: str) -> Path:
        return self._folders.run / cluster

    def _processes(self, cluster: str) -> Iterator[Leftover]:
        for orphan in self._orphans(cluster):
            state = orphan.state
            why = "its cluster has ended, and no runner looks after it"
            yield Leftover("process", cluster, state.name, why, pid=state.pid)

    def _orphans(self, cluster: str) -> Iterator[_Orphan]:
        if self._state_of(cluster) != "ended":
            return
        folders = replace(self._folders, cluster=cluster)
        for node in self._nodes(cluster):
            if RunnerLock(folders, node).holder() is None:
                for _, state in left_behind(folders, node):
                    if state.is_running and self._is_ours(state.pid):
                        yield _Orphan(state)

    def _is_ours(self, pid: int) -> bool:
        """Whether a process was started for the registry that we have asked."""
        given = process_environment(pid).get("PALM_REGISTRY", "").rstrip("/")
        return given in ("", self._registry)

    def _nodes(self, cluster: str) -> set[str]:
        """The nodes that this machine has been: a state folder may be shared by several."""
        locks = self._run(cluster).glob("runner-*.lock")
        found = {lock.stem.removeprefix("runner-") for lock in locks}
        return found | {node_name()} if found else set()

    def _is_over(self, cluster: str) -> bool:
        """Whether nothing of a cluster runs here, and nothing is about to."""
        if self._state_of(cluster) != "ended":
            return False
        folders = replace(self._folders, cluster=cluster)
        if any(RunnerLock(folders, n).holder() is not None for n in self._nodes(cluster)):
            return False
        components = self._run(cluster) / "components"
        return not (components.is_dir() and sort_records(components)[0])

    def _records(self, cluster: str) -> Iterator[Leftover]:
        components = self._run(cluster) / "components"
        for path in sort_records(components)[1] if components.is_dir() else ():
            yield from self._file("record", cluster, path, "its process is gone")

    def _sockets(self, cluster: str) -> Iterator[Leftover]:
        for path in _entries(self._run(cluster) / "sockets"):
            if path.is_socket() and not is_listening(path):
                yield from self._file("socket", cluster, path, "nobody listens")

    def _metrics(self, cluster: str) -> Iterator[Leftover]:
        components = self._run(cluster) / "components"
        alive = {r.name for r in sort_records(components)[0]} if components.is_dir() else set()
        for path in _entries(self._run(cluster) / "metrics"):
            if path.suffix == ".json" and path.stem not in alive:
                yield from self._file("metrics", cluster, path, "its process is gone")

    def _kernels(self, cluster: str) -> Iterator[Leftover]:
        used = {state.spec.kernel_file for _, state in self._spools(cluster)
                if state.spec is not None and state.is_running}  # fmt: skip
        for path in _entries(self._run(cluster) / "kernels"):
            if str(path) not in used:
                yield from self._file("kernel", cluster, path, "its kernel is gone")

    def _cells(self, cluster: str) -> Iterator[Leftover]:
        yield from self._when_over("cell", cluster, self._run(cluster) / "cells")

    def _stages(self, cluster: str) -> Iterator[Leftover]:
        yield from self._when_over("stage", cluster, self._run(cluster) / "stages")

    def _when_over(self, kind: Kind, cluster: str, folder: Path) -> Iterator[Leftover]:
        paths = _entries(folder)
        for path in paths if paths and self._is_over(cluster) else ():
            if path.is_file():
                yield from self._file(kind, cluster, path, "its cluster has ended")

    def _spools(self, cluster: str) -> Iterator[tuple[Spool, SpoolState]]:
        """Those of this machine, the latest start of each process first."""
        nodes = self._nodes(cluster)
        for spool, state in list_spools(self._folders.state / "spool"):
            if state.cluster == cluster and state.node in nodes:
                yield spool, state

    def _outputs(self, cluster: str) -> Iterator[Leftover]:
        ended, latest = self._is_over(cluster), set()
        for spool, state in self._spools(cluster):
            first = state.name not in latest
            latest.add(state.name)
            # The next runner learns from the latest one what became of a process.
            if state.is_running or (first and not ended) or self._is_young(state.started):
                continue
            why = "stored by the registry" + (", and its cluster has ended" if ended else "")
            each = Leftover("output", cluster, spool.instance, why, str(spool.folder))
            each = replace(each, size=_size(spool.folder))
            if spool.is_acked:
                yield each
            elif each not in self.unstored:
                self.unstored.append(each)

    def _runner_logs(self, cluster: str) -> Iterator[Leftover]:
        yield from self._logs(cluster, self._folders.state / cluster)

    def _logs(self, cluster: str, folder: Path) -> Iterator[Leftover]:
        for path in _entries(folder):
            if path.name.endswith(".log.old"):
                yield from self._file("log", cluster, path, "a newer one has been begun")

    def _file(self, kind: Kind, cluster: str, path: Path, why: str) -> Iterator[Leftover]:
        try:
            found = path.lstat()
        except OSError:  # gone by now
            return
        if not self._is_young(found.st_mtime):
            yield Leftover(kind, cluster, path.name, why, str(path), size=found.st_size)

    def _is_young(self, moment: float) -> bool:
        # A clock that was set back makes old files look as if they came from the future.
        return 0 <= time.time() - moment < self._young


_FINDERS: dict[Kind, Callable[[Leftovers, str], Iterator[Leftover]]] = {
    "process": Leftovers._processes,
    "record": Leftovers._records,
    "socket": Leftovers._sockets,
    "metrics": Leftovers._metrics,
    "kernel": Leftovers._kernels,
    "cell": Leftovers._cells,
    "stage": Leftovers._stages,
    "output": Leftovers._outputs,
    "log": Leftovers._runner_logs,
}


def remove_socket(path: Path) -> bool:
    """Remove a socket that nobody listens at; say whether it is gone.

    A component may bind the same path between a look and the removal. So the file is first moved
    aside, and put back if it is another by then.
    """
    before = _identity(path)
    if before is None or is_listening(path):
        return before is None
    aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _identity(aside) != before:
            aside.rename(path)
            return False
        aside.unlink()
    return True


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    size = 0
    for path in _entries(folder):
        with suppress(OSError):
            size += path.lstat().st_size
    return size
