"""What runs in the processes of an executor, called here."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from palm.protocol.effects import Invoke
from palm.protocol.events import Completed
from palm.runtime import remote
from palm.runtime.remote import answers_of, pack_functions, pack_messages, run
from palm.runtime.tasks import current_task
from palm.wire.batch import Batch
from palm.wire.codec import decode_batch, encode_values
from palm.wire.message import Task
from palm.wire.outcome import Kind


def double(value: int) -> int:
    return 2 * value


def find_index(value: int) -> int:
    return current_task().index


def doze(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


FUNCTIONS = {"double": double, "find_index": find_index, "doze": doze}


@pytest.fixture(autouse=True)
def _no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_tables", type(remote._tables)())


def invoke_of(
    function: str, values: list[Any], start: int = 0, stop: int | None = None, timeout: float = 0.0
) -> Invoke:
    codec, payloads = encode_values(values)
    batch = Batch.pack(payloads)
    task = Task(9, 4, b"s" * 16, b"job", 100, batch.n, 2, function, codec, timeout)
    return Invoke(task, batch, start, batch.n if stop is None else stop)


def results_of(answers: list[Completed]) -> list[Any]:
    return [value for answer in answers for value in decode_batch(answer.codec, answer.batch)]


def test_functions_travel_once_and_stay() -> None:
    key, packed = pack_functions(FUNCTIONS, spread=False)
    messages = pack_messages(invoke_of("double", [1, 2]))
    assert run(key, None, messages) is None, "they are not here yet"
    for functions in (packed, None, None):
        found = run(key, functions, messages)
        assert found is not None
        answers = answers_of(4, found)
        assert results_of(answers) == [2, 4]
        assert [answer.lease for answer in answers] == [4] and answers[-1].over


def test_equal_functions_have_equal_keys_and_others_do_not() -> None:
    key, _ = pack_functions(FUNCTIONS, spread=False)
    assert pack_functions(dict(FUNCTIONS), spread=False)[0] == key
    assert pack_functions(FUNCTIONS, spread=True)[0] != key
    assert pack_functions({"double": double}, spread=False)[0] != key


def test_the_functions_of_the_latest_workers_are_kept() -> None:
    keys = []
    for number in range(remote.KEPT + 1):
        key, packed = pack_functions({f"f{number}": double}, spread=False)
        keys.append(key)
        run(key, packed, pack_messages(invoke_of(f"f{number}", [1])))
    assert list(remote._tables) == keys[1:]


def test_a_part_of_a_lease_knows_its_place_in_the_job() -> None:
    key, packed = pack_functions(FUNCTIONS, spread=False)
    found = run(key, packed, pack_messages(invoke_of("find_index", [0] * 9, start=3, stop=6)))
    assert found is not None
    assert results_of(answers_of(4, found)) == [103, 104, 105]


def test_a_call_in_a_thread_that_took_too_long_is_known_when_it_ends() -> None:
    key, packed = pack_functions(FUNCTIONS, spread=False)
    found: list[Any] = []

    def call() -> None:
        messages = pack_messages(invoke_of("doze", [0.0, 0.1, 0.0], timeout=0.05))
        found.extend(run(key, packed, messages) or [])

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    kinds = b"".join(answer.kinds or bytes(answer.n) for answer in answers_of(4, found))
    assert list(kinds) == [Kind.RESULT, Kind.DEADLINE_EXCEEDED, Kind.RESULT]
