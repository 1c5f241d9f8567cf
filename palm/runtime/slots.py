"""How a worker serves whose functions an executor runs: one thread, and many batches under way.

To the master each slot is a worker like any other, with one batch that runs; so what holds for
workers - credit, recalls, limits, what happens to the batch of a lost one - holds for slots. A
slot whose batch was lost in the executor ends, and another one takes its place.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from math import inf
from typing import Any, Protocol

from palm.errors import PalmError
from palm.protocol.effects import Invoke
from palm.protocol.events import Completed, Event, StopRequested
from palm.protocol.turns import Turns
from palm.protocol.worker import Lost, WorkerMachine
from palm.runtime.driver import MAX_WAIT, Driver
from palm.runtime.engine import Engine, is_loss
from palm.runtime.refusals import refusal
from palm.runtime.remote import answers_of, pack_messages, run
from palm.transport.fan import Fan
from palm.transport.zmq import ZmqConnector

__all__ = ["Slot", "SlotLoop"]


class Slot:
    """One life of a slot; ``loop.invoke`` and ``over`` are for its effects.

    Slots are numbered from 0: of ``n`` that are wanted, those with a number below are.
    """

    def __init__(self, number: int, connector: ZmqConnector) -> None:
        self.number = number
        self.connector = connector
        self.machine: WorkerMachine
        self.driver: Driver
        self.invoke: Invoke | None = None
        self.future: Future[Any] | None = None
        #: Its life is over; ``error`` says why if it was not asked to be.
        self.over = False
        self.error: PalmError | None = None
        #: Its batch was lost: another slot takes its place.
        self.lost = False
        #: It ends with the batch that it has.
        self.leaving = False


class MakesSlots(Protocol):
    """Makes a slot, whose machine has begun to look for the master."""

    def __call__(self, number: int) -> Slot:
        """Return a slot of this number."""


class SlotLoop:
    """The slots of one worker.

    Parameters
    ----------
    key, packed
        The functions; see `palm.runtime.remote.pack_functions`.
    make
        Makes a slot.
    report
        Called with the count of events so far; returns the seconds after which it wants to be
        called again, whatever happens.
    """

    def __init__(
        self,
        engine: Engine,
        fan: Fan,
        key: str,
        packed: bytes,
        make: MakesSlots,
        logger: logging.Logger,
        report: Callable[[int], float],
    ) -> None:
        self._engine = engine
        self._fan = fan
        self._key, self._packed = key, packed
        self._make = make
        self._logger = logger
        self._report = report
        self._slots: dict[ZmqConnector, Slot] = {}
        #: Count of those that there should be.
        self.wanted = 0
        self._turns: Turns[Slot] = Turns()
        self._inbox: deque[Callable[[], Slot | None]] = deque()
        #: Tasks that are given the functions, whether or not they are there.
        self._cold = 0
        self._stopping = False
        self._ended_events = 0
        self._report_in = MAX_WAIT

    def serve(self, n: int) -> None:
        """Serve with ``n`` slots in this thread until all have ended; raises what ended one."""
        self._resize(n)
        while self._slots:
            touched = {self._slots[connector] for connector in self._fan.wait(self._patience())}
            while self._inbox:
                slot = self._inbox.popleft()()
                touched |= {slot} if slot is not None else set()
            touched |= self._due()
            for slot in touched:
                self._step(slot)
            self._report_in = self._report(self._events())

    def slots(self) -> list[Slot]:
        """Return those that live."""
        return list(self._slots.values())

    def post(self, slot: Slot, event: Event) -> None:
        """Let an event happen to a slot, from any thread."""
        self._do(partial(self._handle, slot, event))

    def resize(self, n: int) -> None:
        """Have ``n`` slots from now on; those that are to go end with the batch that they have.

        Any thread may.
        """
        self._do(partial(self._resize, n))

    def stop(self, grace: float) -> None:
        """Stop all slots within ``grace`` seconds; any thread may."""
        self._engine.halt()
        self._do(partial(self._stop, grace))

    def invoke(self, slot: Slot, effect: Invoke) -> None:
        """Have messages run when it is their turn."""
        slot.invoke = effect
        if effect.task.at_most_once and self._engine.may_run_again:
            text = "a Dask cluster may run a batch again after a loss: at_most_once is refused here"
            self._answer(slot, [refusal(effect, "ConfigError", text)])
            return
        # A pool is lost as a whole; Dask blames all that the lost process had before it.
        self._start(self._turns.ask(slot, alone=effect.task.alone))

    def _events(self) -> int:
        return self._ended_events + sum(slot.driver.events for slot in self._slots.values())

    def _do(self, what: Callable[[], Slot | None]) -> None:
        self._inbox.append(what)
        self._fan.wake()

    def _resize(self, n: int) -> None:
        if not self._stopping:
            self.wanted = n
            self._fit()

    def _fit(self) -> None:
        """Begin slots that are wanted, and let go of those that are not."""
        for slot in list(self._slots.values()):
            slot.leaving = slot.number >= self.wanted
            if slot.leaving and slot.invoke is None:
                self._handle(slot, StopRequested(inf))
                self._step(slot)
        numbers = {slot.number for slot in self._slots.values()}
        for number in sorted(set(range(self.wanted)) - numbers):
            self._begin(number)

    def _begin(self, number: int) -> None:
        slot = self._make(number)
        self._cold += 1
        self._slots[slot.connector] = slot
        self._fan.add(slot.connector)
        slot.driver.perform(slot.machine.start(slot.driver.clock()))

    def _stop(self, grace: float) -> None:
        self._stopping = True
        for slot in list(self._slots.values()):
            self._handle(slot, StopRequested(grace))
            self._step(slot)

    def _handle(self, slot: Slot, event: Event) -> Slot | None:
        if slot.over:
            return None
        slot.driver.handle(event)
        return slot

    def _step(self, slot: Slot) -> None:
        """Read a slot to the end, let go of what nobody wants, and see whether it is over."""
        seen = -1
        while not slot.over and seen != slot.driver.events:
            seen = slot.driver.events
            slot.driver.step(0.0)
            self._cancel_unwanted(slot)
        if slot.over and slot.connector in self._slots:
            self._end(slot)

    def _end(self, slot: Slot) -> None:
        del self._slots[slot.connector]
        self._ended_events += slot.driver.events
        self._fan.remove(slot.connector)
        slot.connector.close()
        if slot.future is not None:
            slot.future.cancel()
        self._start(self._turns.leave(slot))
        if slot.error is not None:
            self._stop(0.0)
            raise slot.error
        if not self._stopping and (not slot.lost or self._engine.renew()):
            self._fit()

    def _cancel_unwanted(self, slot: Slot) -> None:
        """Cancel what did not begin and is not to be run any more."""
        invoke, future = slot.invoke, slot.future
        if invoke is None or invoke.stop > invoke.start:
            return
        if future is None or (self._may_cancel() and future.cancel()):
            slot.future = None
            self._answer(slot, [refusal(invoke, "", "", n=0)])

    def _may_cancel(self) -> bool:
        """Whether it does no harm to cancel a task that may have begun, for all we know."""
        return self._engine.knows_begun or not self._stopping

    # What the executor has

    def _start(self, slots: list[Slot]) -> None:
        for slot in slots:
            self._submit(slot, whole=self._cold > 0)

    def _submit(self, slot: Slot, *, whole: bool) -> None:
        invoke = slot.invoke
        if invoke is None:
            return
        self._cold -= whole
        packed = self._packed if whole else None
        messages = pack_messages(invoke)
        try:
            future = self._engine.submit(run, self._key, packed, messages)
        except Exception as error:  # noqa: BLE001 - the executor is the user's
            self._logger.debug("the executor took nothing: %s", error)  # it is broken, or closed
            if not self._engine.renew():
                return  # it is stopped
            future = self._engine.submit(run, self._key, packed, messages)
        slot.future = future
        slot.future.add_done_callback(lambda future: self._do(partial(self._done, slot, future)))

    def _done(self, slot: Slot, future: Future[Any]) -> Slot | None:
        invoke = slot.invoke
        if slot.over or slot.future is not future or invoke is None:
            return None
        slot.future = None
        try:
            packed = future.result()
        except BaseException as raised:  # noqa: BLE001 - it is the executor's, and classified
            self._failed(slot, invoke, raised)
        else:
            if packed is None:
                self._submit(slot, whole=True)
            else:
                self._answer(slot, answers_of(invoke.task.lease, packed))
        return slot

    def _failed(self, slot: Slot, invoke: Invoke, error: BaseException) -> None:
        """Lose the slot with its batch or, where that would come again, have its messages fail."""
        text = f"{type(error).__name__}: {error}"
        if is_loss(error):
            slot.lost = True
            slot.driver.handle(Lost(0.0, f"its batch was lost in the executor: {text}"))
        else:
            text = f"the executor could not run it: {text}"
            self._answer(slot, [refusal(invoke, type(error).__name__, text)])

    def _answer(self, slot: Slot, answers: list[Completed]) -> None:
        slot.invoke = None
        begin = self._turns.leave(slot)
        if slot.leaving:  # before it begins the next one
            slot.driver.handle(StopRequested(inf))
        for completed in answers:
            slot.driver.handle(completed)
        self._start(begin)

    # Time

    def _patience(self) -> float:
        if self._inbox:
            return 0.0
        due = [s.machine.next_deadline for s in self._slots.values()]
        first = min((at for at in due if at is not None), default=None)
        wait = min(MAX_WAIT, self._report_in)
        if first is None:
            return wait
        now = next(iter(self._slots.values())).driver.clock()
        return max(0.0, min(wait, first - now))

    def _due(self) -> set[Slot]:
        found = set()
        for slot in self._slots.values():
            due = slot.machine.next_deadline
            if due is not None and due <= slot.driver.clock():
                found.add(slot)
        return found
