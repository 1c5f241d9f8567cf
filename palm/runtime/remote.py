"""What runs in the processes of an executor: messages of a lease, by functions that stay there.

A task carries the messages and the key of their functions. The functions themselves travel with
the first tasks, and to a process that turns out not to have them; it keeps them.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final

from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime.executor import Executor
from palm.runtime.functions import FunctionTable
from palm.runtime.limits import TimeLimit
from palm.wire.batch import Batch
from palm.wire.codec import dump_by_value
from palm.wire.framing import pack, unpack
from palm.wire.message import Task

__all__ = ["Packed", "answers_of", "is_there", "pack_functions", "pack_messages", "run"]

#: Tables of functions that a process keeps.
KEPT: Final = 8

#: Seconds of calls after which a task returns though it is not at its end: a task of its own for
#: the rest costs milliseconds, so that it is many times what a lease should take.
RETURN_AFTER: Final = 0.25

#: One `Completed` without its lease: n, codec, frames, started, durations, kinds.
Packed = tuple[int, int, list[bytes], float, bytes, bytes]

_tables: OrderedDict[str, FunctionTable] = OrderedDict()
_lock = threading.Lock()


def is_there() -> bool:
    """Do nothing: whoever can call it has palm, and a process to run in."""
    return True


def pack_functions(
    functions: Mapping[str, Callable[[Any], Any]], *, spread: bool
) -> tuple[str, bytes]:
    """Return functions as they travel, and their key: equal functions have equal keys."""
    packed = dump_by_value((dict(functions), spread))
    return sha256(packed).hexdigest(), packed


def pack_messages(invoke: Invoke) -> list[bytes]:
    """Return the messages of an invoke as they travel: as a lease of their own."""
    task, start, stop = invoke.task, invoke.start, invoke.stop
    part = Task(
        0,
        task.lease,
        task.session,
        task.job,
        task.first + start,
        stop - start,
        task.attempt,
        task.function,
        task.codec,
        task.timeout,
        task.route,
        task.at_most_once,
    )
    return [bytes(frame) for frame in pack(part, invoke.batch.cut(start, stop))]


def run(key: str, packed: bytes | None, frames: list[bytes]) -> list[Packed] | None:
    """Run messages; return what became of them, or None: the functions are not here."""
    table = _table(key, packed)
    if table is None:
        return None
    task, batch = unpack(frames)
    if not isinstance(task, Task) or batch is None:
        raise TypeError(f"not a lease: {type(task).__name__}")
    in_main = threading.current_thread() is threading.main_thread()
    # A thread of many cannot be interrupted, and its process is not ours to end.
    limit = TimeLimit() if in_main else TimeLimit(ends_process=False)
    executor = Executor(table, limit, answer_after=RETURN_AFTER)
    return [_packed(answer) for answer in executor.run(Invoke(task, batch, 0, batch.n))]


def answers_of(lease: int, packed: list[Packed]) -> list[Completed]:
    """Return what became of the messages of a lease."""
    last = len(packed) - 1
    return [
        Completed(
            lease, n, codec, Batch.unpack(n, frames), started, durations, kinds, over=at == last
        )
        for at, (n, codec, frames, started, durations, kinds) in enumerate(packed)
    ]


def _packed(answer: Completed) -> Packed:
    frames = [bytes(frame) for frame in answer.batch.frames()]
    codec = int(answer.codec)
    return answer.n, codec, frames, answer.started, answer.durations, answer.kinds


def _table(key: str, packed: bytes | None) -> FunctionTable | None:
    with _lock:
        table = _tables.get(key)
        if table is None and packed is not None:
            functions, spread = pickle.loads(packed)
            table = FunctionTable(functions)
            _tables[key] = table = table.spread() if spread else table
        if table is not None:
            _tables.move_to_end(key)
            while len(_tables) > KEPT:
                _tables.popitem(last=False)
        return table
