"""Does to processes what a schedule says, and starts another where one has ended."""

from __future__ import annotations

import heapq
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

import psutil

from tests.chaos.processes import Place, Slot
from tests.chaos.schedule import Fault
from tests.chaos.work import Log, now

__all__ = ["Children", "Tormentor", "Victim", "Victims"]

_SIGNALS: Final = {
    "kill": signal.SIGKILL,
    "term": signal.SIGTERM,
    "stop": signal.SIGSTOP,
    "restart": signal.SIGHUP,
}

#: What a process goes on after.
_STAYS: Final = ("stop", "restart")

#: Seconds between two looks at the processes.
_LOOK_EVERY: Final = 0.01

#: Seconds for which a fault waits for a victim.
_PATIENCE: Final = 5.0

#: Seconds that a process has to do something before it may be hit all the same.
_CHILDHOOD: Final = 4.0

#: Seconds that a system has until its first result.
_UNTIL_RESULTS: Final = 30.0

#: Seconds after SIGTERM until a process that does not end is killed.
_GRACE: Final = 10.0


class Victim(Protocol):
    """A process that can be hit."""

    born: float

    @property
    def pid(self) -> int:
        """Of the process."""

    @property
    def is_there(self) -> bool:
        """Whether it runs, or is stopped."""

    def send(self, number: int) -> None:
        """Send a signal."""


class Victims(Protocol):
    """Those who have no slots: others start them."""

    def found(self, role: str) -> Sequence[Victim]:
        """Those of a role, as far as they are known to be there."""


class _Child:
    """A process that one of ours started: nobody but its parent can start another."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.born = 0.0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_there(self) -> bool:
        with suppress(psutil.Error):
            return bool(self._process.status() != psutil.STATUS_ZOMBIE)
        return False

    def send(self, number: int) -> None:
        with suppress(psutil.Error):
            self._process.send_signal(number)


class Children:
    """The workers of a system whose clients start them."""

    def __init__(self, clients: Sequence[Slot]) -> None:
        self._clients = clients

    def found(self, role: str) -> list[Victim]:
        """Return those that are there now; they are all workers."""
        found: list[Victim] = []
        if role != "worker":
            return found
        for client in self._clients:
            with suppress(psutil.Error):
                found += map(_Child, psutil.Process(client.pid).children())
        return found


class Tormentor:
    """Hits processes, and remembers when it hit which.

    Parameters
    ----------
    slots
        All processes that are to be there, and are ours to start.
    victims
        Where those are that others start.
    look
        Called all the time.
    """

    def __init__(
        self,
        place: Place,
        slots: Sequence[Slot],
        victims: Victims | None,
        look: Callable[[], None],
    ) -> None:
        self.slots = slots
        self.faults: Counter[str] = Counter()
        #: Processes that did not end by SIGTERM, by role.
        self.stubborn: Counter[str] = Counter()
        self._place = place
        self._victims = victims
        self._look = look
        self._log = Log(place.folder / "faults")
        self._later: list[tuple[float, int, str, Victim]] = []
        self._stopped: set[int] = set()
        self._leaving: set[int] = set()

    def start(self) -> None:
        """Start all processes, and wait until there are results, or for a while."""
        for slot in self.slots:
            slot.start()
        until = time.monotonic() + _UNTIL_RESULTS
        while not self._has_results() and time.monotonic() < until:
            self.pass_time(0.05)

    def _has_results(self) -> bool:
        histories = (self._place.folder / "clients").iterdir()
        return any("result" in path.read_text() for path in histories)

    def run(
        self, faults: Iterator[Fault], seconds: float, wanted: Mapping[str, int], most: float
    ) -> float:
        """Hit for ``seconds``, and on to as many faults as ``wanted``, at ``most`` for so long.

        ``wanted`` has numbers by kind, and of all kinds under "". Returns the seconds.
        """
        begun = time.monotonic()
        due = begun
        while (spent := time.monotonic() - begun) < most:
            have = self.faults | Counter({"": self.faults.total()})
            if spent >= seconds and all(have[kind] >= count for kind, count in wanted.items()):
                break
            fault = next(faults, None)
            if fault is None:
                break
            due = max(due + fault.after, time.monotonic() - 1.0)  # behind time: without a pause
            self.pass_time(due - time.monotonic())
            self._hit(fault)
        for _, _, _, victim in self._later:
            victim.send(signal.SIGCONT)
        self._stopped.clear()
        return time.monotonic() - begun

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in which what is due is done and who has ended is replaced."""
        until = time.monotonic() + seconds
        while True:
            self._do_what_is_due()
            self._look()
            for slot in self.slots:
                if slot.pid in self._leaving and not slot.is_there:
                    slot.start()
                else:
                    slot.tend()
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _LOOK_EVERY))

    def _hit(self, fault: Fault) -> None:
        until = time.monotonic() + _PATIENCE
        while not (victims := self._fit(fault)):
            if time.monotonic() > until:
                return
            self.pass_time(_LOOK_EVERY)
        victim = victims[int(fault.share * len(victims))]
        pid = victim.pid
        victim.send(_SIGNALS[fault.kind])
        self._log.write(f"{fault.kind} {fault.role} {pid} {now()}")
        self.faults[f"{fault.kind} {fault.role}"] += 1
        if fault.kind == "stop":
            self._stopped.add(pid)
            self._plan(fault.lasts, "cont", victim)
        if fault.kind in _STAYS:
            return
        self._leaving.add(pid)
        if fault.kind == "term":
            self._plan(_GRACE, fault.role, victim)
        elif isinstance(victim, Slot):
            victim.wait(5.0)
            victim.start()

    def _fit(self, fault: Fault) -> list[Victim]:
        everybody: list[Victim] = [slot for slot in self.slots if slot.role == fault.role]
        if not everybody and self._victims is not None:
            everybody = [*self._victims.found(fault.role)]
        return [
            victim
            for victim in everybody
            if victim.is_there
            and victim.pid not in self._leaving
            and (fault.kind == "kill" or victim.pid not in self._stopped)
            and (time.monotonic() - victim.born > _CHILDHOOD or self._has_worked(victim, fault))
        ]

    def _has_worked(self, victim: Victim, fault: Fault) -> bool:
        if fault.role in ("runner", "registry"):  # their starts are to be hit, too
            return True
        folder = {"worker": "workers", "client": "clients"}.get(fault.role)
        if folder is None:
            return time.monotonic() - victim.born > 1.0
        return any((self._place.folder / folder).glob(f"{victim.pid}-*"))

    def _plan(self, seconds: float, what: str, victim: Victim) -> None:
        at = time.monotonic() + seconds
        heapq.heappush(self._later, (at, victim.pid, what, victim))

    def _do_what_is_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            _, pid, what, victim = heapq.heappop(self._later)
            if what == "cont":
                self._stopped.discard(pid)
            if victim.pid != pid or not victim.is_there:
                continue
            if what == "cont":
                victim.send(signal.SIGCONT)
            else:
                self.stubborn[what] += 1
                victim.send(signal.SIGKILL)
