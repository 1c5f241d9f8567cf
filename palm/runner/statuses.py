"""What a node says of its processes, with what these say of themselves."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from palm.errors import PalmError
from palm.registry_api.schema import ReplicaStatus
from palm.runner.sockets import own_sockets
from palm.runner.spool import STREAMS, Spool
from palm.runner.wanted import NodeProcess
from palm.runtime.folders import Folders
from palm.runtime.records import ComponentRecord, last_record, live_records
from palm.spec.process import ProcessState

__all__ = ["Statuses"]

_log = logging.getLogger("palm.runner")


class Statuses:
    """Knows what each component said of itself last. One thread owns it."""

    def __init__(self, folders: Folders, node: str) -> None:
        self._folders = folders
        self._node = node
        self._records: dict[str, ComponentRecord] = {}
        #: All records, if they were read in this round.
        self._by_instance: dict[str, ComponentRecord] | None = None

    def begin_round(self) -> None:
        """Read again what components say of themselves."""
        self._by_instance = None

    def forget(self, name: str) -> None:
        """Know no more of a process."""
        self._records.pop(name, None)

    def of(self, process: NodeProcess, state: ProcessState) -> ReplicaStatus:
        """How a process is."""
        spec = process.spec
        record = self._record(state) if state.state == "ready" else None
        return ReplicaStatus(
            name=state.name,
            component=spec.component or spec.name,
            replica=spec.replica,
            node=self._node,
            instance=state.instance,
            generation=spec.generation,
            state=state.state,
            pid=state.pid,
            restarts=state.restarts,
            exit=state.exit,
            reason=state.reason,
            started=state.started,
            functions=record.functions if record else [],
            endpoints=record.endpoints if record else {},
            master=record.master if record else "",
            kernel_file=spec.kernel_file if state.state == "ready" else "",
            written=_written(state),
            last_lines=process.last_lines if process.instance == state.instance else "",
            sockets=own_sockets(spec.component, spec.replica, spec.sockets),
            updated=time.time(),
        )

    def changed(self, process: NodeProcess, state: ProcessState) -> ReplicaStatus | None:
        """How a ready process is, if it says something else of itself than before."""
        before = _offer(self._records.get(state.name))
        status = self.of(process, state)
        return None if _offer(self._records.get(state.name)) == before else status

    def _record(self, state: ProcessState) -> ComponentRecord | None:
        try:
            record = self._find_record(state.name, state.instance)
        except (OSError, PalmError) as error:  # a run folder in disorder ends no component
            _log.warning("nothing can be known of %s: %s", state.name, error)
            return None
        if record is not None:
            self._records[state.name] = record
        return record

    def _find_record(self, name: str, instance: str) -> ComponentRecord | None:
        """What a process says of itself; a script may have given its component another name."""
        record = last_record(self._folders, name)
        if record is not None and record.instance == instance:
            return record
        if self._by_instance is None:
            self._by_instance = {each.instance: each for each in live_records(self._folders)}
        return self._by_instance.get(instance)


def _written(state: ProcessState) -> dict[str, int]:
    """How much a process wrote that is gone."""
    if state.pid is not None or not state.spool:
        return {}
    spool = Spool(Path(state.spool))
    return {stream: spool.size(stream) for stream in STREAMS}


def _offer(record: ComponentRecord | None) -> object:
    return None if record is None else (record.functions, record.endpoints)
