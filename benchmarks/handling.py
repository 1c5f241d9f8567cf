"""What the rules of a master cost: one machine in memory, no sockets, batches of several sizes.

``python -m benchmarks.handling`` prints the least microseconds of the processor that one batch
takes from SUBMIT to the ACK of its outcome, and what that is for each message.
"""

from __future__ import annotations

import gc
import struct
import time
from itertools import count

from palm.protocol.effects import Send
from palm.protocol.events import Received
from palm.protocol.master import MasterMachine
from palm.protocol.store import Store
from palm.wire.batch import Batch
from palm.wire.codec import Codec
from palm.wire.message import (
    VERSION,
    Ack,
    Hello,
    Message,
    Outcome,
    Result,
    Submit,
    Task,
    Welcome,
)

ROLES = frozenset({"client", "worker"})
SIZES = (1, 64, 1024)
BATCHES = 2000
ROUNDS = 15


class Bench:
    """A master, a client and a worker that answers all it gets at once."""

    def __init__(self, n: int) -> None:
        links = count(1)
        self.now = 0.0
        self.master = MasterMachine("foo", b"epoch", {}, lambda: next(links), Store({}))
        self.batch = Batch.pack([b"x" * 16] * n)
        self.durations = struct.pack("f", 20e-6) * n
        self.client = self._hello("client", [])
        self.worker = self._hello("worker", ["f"])
        self.first = 0

    def _hello(self, role: str, functions: list[str]) -> int:
        name = role.encode()
        hello = Hello(0, VERSION, role, role, name.ljust(16), "foo", functions, [], b"epoch")
        for effect in self.master.handle(Received(name, hello, None, ROLES), 0.0):
            if isinstance(effect, Send) and isinstance(effect.message, Welcome):
                return effect.message.link
        raise RuntimeError("not welcome")

    def submit(self) -> None:
        """Take one batch through."""
        n = self.batch.n
        submit = Submit(self.client, b"job", self.first, n, "foo.f", Codec.RAW, False)
        self.first += n
        todo: list[tuple[bytes, Message, Batch | None]] = [(b"client", submit, self.batch)]
        while todo:
            self.now += 1e-5
            event = Received(*todo.pop())
            for effect in self.master.handle(event, self.now):
                if isinstance(effect, Send):
                    answer = self._answer(effect.message, effect.batch)
                    if answer is not None:
                        todo.append(answer)

    def _answer(
        self, message: Message, batch: Batch | None
    ) -> tuple[bytes, Message, Batch | None] | None:
        if isinstance(message, Task):
            result = Result(
                self.worker,
                message.lease,
                message.session,
                message.job,
                message.first,
                message.n,
                message.attempt,
                Codec.RAW,
                0.0,
                self.durations[: 4 * message.n],
                b"",
            )
            return b"worker", result, batch
        if isinstance(message, Outcome):
            return b"client", Ack(self.client, message.serial), None
        return None


def measure(n: int) -> float:
    """Return microseconds of the processor for a batch of ``n`` messages."""
    best = float("inf")
    bench = Bench(n)
    for _ in range(50):
        bench.submit()
    gc.disable()
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(BATCHES):
            bench.submit()
        best = min(best, (time.process_time() - begun) / BATCHES)
    gc.enable()
    return best * 1e6


def main() -> None:
    """Print a line for each size."""
    for n in SIZES:
        cost = measure(n)
        print(f"{n:5} messages: {cost:8.2f} us a batch, {cost / n * 1000:8.1f} ns a message")


if __name__ == "__main__":
    main()
