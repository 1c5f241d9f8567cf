"""A component that is put together: where messages come in, what they go through, where they go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import isgenerator
from logging import INFO
from typing import Any, ClassVar, Final

from palm.clients import Client
from palm.errors import ConfigError
from palm.protocol.flow import THE_FUNCTION
from palm.runtime.functions import FunctionTable
from palm.runtime.message import Hook, Message, current_message, gathering
from palm.runtime.several import NOTHING, Several
from palm.servers.listening import CacheSpec
from palm.servers.staged import Staged, previous_of

__all__ = ["WORKERS", "Assembly", "Inlet", "Step"]

#: The step in which workers run the function that the job names.
WORKERS: Final = "workers"

#: What a message goes through: `WORKERS`, or a function of a `Message`. That returns a message or
#: a payload, yields any number of them, or returns None: then the message ends here, without a
#: result.
Step = Callable[[Message], Any] | str

#: What brings messages in, beside clients: it is called once, in a thread of its own, with a
#: client of this component and an event that is set when it is to return.
Inlet = Callable[[Client, threading.Event], object]

#: Seconds that an inlet has to return when the component stops.
_INLET_GRACE: Final = 5.0


class Assembly(Staged):
    """A component of ports, steps and inlets.

    Parameters
    ----------
    name
        Its name.
    steps
        What messages go through, in order. Functions run in the thread that serves, one at a
        time; a failure is the outcome of its message.
    ports
        Addresses to listen at, by names of one's own; any role may connect to any of them.
        Without one it is found by its name.
    previous, sub_addresses
        Components whose results it takes, as those of `palm.Sink`. Clients may call it as well.
    route
        Returns the topic of a result, and the result; see `palm.Server.handle_stream`.
    inlets
        What brings messages in beside clients and other components.
    pipelined
        Results go to the stages that subscribe to its name, not to who asked.
    messages
        Stop after so many messages of its own steps (None: never).
    cache, durable, log_level
        As those of `palm.Master`.
    """

    role: ClassVar[str] = "server"

    def __init__(
        self,
        name: str,
        steps: Sequence[Step] = (WORKERS,),
        *,
        ports: Mapping[str, str] | None = None,
        previous: str | Iterable[str] | None = None,
        sub_addresses: str | Iterable[str] | None = None,
        route: Hook | None = None,
        inlets: Sequence[Inlet] = (),
        pipelined: bool = False,
        messages: int | None = None,
        cache: CacheSpec = None,
        durable: bool = False,
        log_level: int = INFO,
    ) -> None:
        self._given_steps = [_check(step) for step in steps]
        if self._given_steps.count(WORKERS) > 1:
            hint = "a job names one function for each component"
            raise ConfigError("more than one step for workers", key="steps", hint=hint)
        super().__init__(
            name,
            dict(ports or {}) or {"db": None},
            cache,
            log_level,
            pipelined=pipelined,
            previous=previous_of(previous, sub_addresses) if previous else (),
            messages=messages,
            hooks={"handle_stream": route},
            durable=durable,
        )
        self._inlets = list(inlets)

    def _table(self) -> FunctionTable:
        """Return its steps, each under its number."""
        hooks = {
            _name(at): _stepping(step)
            for at, step in enumerate(self._given_steps)
            if not isinstance(step, str)
        }
        route = self._hook("handle_stream")
        if route is not None:
            hooks[_name(len(self._given_steps))] = gathering(None, route)
        return FunctionTable({}, hooks)

    def _steps(self) -> list[str]:
        steps = [
            THE_FUNCTION if step == WORKERS else _name(at)
            for at, step in enumerate(self._given_steps)
        ]
        last = _name(len(steps))
        return [*steps, last] if last in self._own else steps

    def _serve(self) -> None:
        stopping = threading.Event()
        threads = [
            threading.Thread(
                target=self._bring, args=(inlet, stopping), name="palm-inlet", daemon=True
            )
            for inlet in self._inlets
        ]
        for thread in threads:
            thread.start()
        try:
            super()._serve()
        finally:
            stopping.set()
            for thread in threads:
                thread.join(_INLET_GRACE)
        if self._failure is not None:
            raise self._failure

    def _bring(self, inlet: Inlet, stopping: threading.Event) -> None:
        """Let an inlet bring messages in; one that fails ends the component."""
        try:
            with Client(self.name, next(iter(self.endpoints.values()))) as client:
                inlet(client, stopping)
        except BaseException as error:  # noqa: BLE001 - it is raised where the component serves
            self._failure = error
            self.logger.error("an inlet failed: %s: %s", type(error).__name__, error)
            self.stop()


def _check(step: Step) -> Step:
    if step != WORKERS and not callable(step):
        raise ConfigError(
            f"{step!r} is no step", key="steps", hint="WORKERS, or a function of a message"
        )
    return step


def _name(at: int) -> str:
    return f"%{at}"


def _stepping(step: Callable[[Message], Any]) -> Callable[[Any], Several]:
    def call(value: Any) -> Several:
        result = step(current_message(value))
        if result is None:
            return NOTHING
        made = result if isgenerator(result) else (result,)
        return Several(("", _payload(each)) for each in made)

    return call


def _payload(message: Any) -> Any:
    return message.payload if isinstance(message, Message) else message
