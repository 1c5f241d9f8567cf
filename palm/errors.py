"""The error tree of palm.

Every error carries fields to act on, survives pickling, and - where it stands for a failure in
another process - ends its text with the traceback of that process.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AuthenticationError",
    "CacheFull",
    "Cancelled",
    "ConfigError",
    "ConnectTimeout",
    "DeadlineExceeded",
    "FunctionNotFound",
    "JobError",
    "MasterLost",
    "PalmError",
    "PayloadTooLarge",
    "PoisonTask",
    "ProtocolError",
    "RegistryError",
    "StageLost",
    "TaskError",
    "TransportError",
    "Unroutable",
    "WireError",
    "WorkerLost",
    "WouldDeadlock",
]


class PalmError(Exception):
    """Base of every error that palm raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[PalmError], args: tuple[Any, ...], state: dict[str, Any]) -> PalmError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(PalmError):
    """A value that the user gave cannot be used; ``hint`` says what can.

    ``file``, ``line`` (from 1) and ``key`` name the place, where there is one.
    """

    def __init__(
        self,
        text: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(text)
        self.file = file
        self.line = line
        self.key = key
        self.hint = hint

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        parts = [place, self.key, str(self.args[0])]
        text = ": ".join(part for part in parts if part)
        return f"{text} ({self.hint})" if self.hint else text


class CacheFull(PalmError):
    """A value has no room in the cache of a master, which takes ``limit`` bytes."""

    def __init__(self, text: str = "", *, limit: int = 0) -> None:
        super().__init__(text)
        self.limit = limit


class WireError(PalmError):
    """Bytes that are not a message of palm's protocol."""


class ProtocolError(PalmError):
    """A well-formed message that its sender was not allowed to send."""


class TransportError(PalmError):
    """A connection that cannot be made or kept."""


class AuthenticationError(TransportError):
    """The peer refused our key, or we refused its."""


class ConnectTimeout(TransportError):
    """Nobody answered at ``name`` in time; ``known`` lists what runs."""

    def __init__(self, text: str, *, name: str = "", known: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.name = name
        self.known = known


class JobError(PalmError):
    """A message that ended without a result."""


class TaskError(JobError):
    """The function raised: ``type``, ``text`` and ``traceback`` are the remote ones.

    ``index`` is the position of the message in its job, from 0; ``attempts`` counts how often
    the function was started for it.
    """

    def __init__(
        self,
        type: str,  # noqa: A002 - the public name of the field
        text: str = "",
        traceback: str = "",
        *,
        function: str = "",
        worker: str = "",
        attempts: int = 0,
        index: int = 0,
    ) -> None:
        super().__init__(type, text)
        self.type = type
        self.text = text
        self.traceback = traceback
        self.function = function
        self.worker = worker
        self.attempts = attempts
        self.index = index

    @property
    def summary(self) -> str:
        """One line, ``Type: text``."""
        return f"{self.type}: {self.text}" if self.text else self.type

    def __str__(self) -> str:
        place = f" (message {self.index} of {self.function}"
        place += f", worker {self.worker})" if self.worker else ")"
        text = self.summary + (place if self.function else "")
        return f"{text}\n\n{self.traceback.rstrip()}" if self.traceback else text


class FunctionNotFound(TaskError):
    """Workers are there and none of them serves the function."""

    def __str__(self) -> str:
        # The name of the class says what the type would, and Python shows it in front.
        return super().__str__().removeprefix(f"{self.type}: ")


class OutcomeError(JobError):
    """A message whose fate was decided by the cluster, not by the function.

    ``index`` is its position in the job, ``worker`` and ``attempts`` what is known of its runs.
    """

    def __init__(
        self,
        text: str = "",
        *,
        function: str = "",
        worker: str = "",
        attempts: int = 0,
        index: int = 0,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.function = function
        self.worker = worker
        self.attempts = attempts
        self.index = index

    @property
    def summary(self) -> str:
        """One line, ``Type: text``."""
        return f"{type(self).__name__}: {self.text}" if self.text else type(self).__name__

    def __str__(self) -> str:
        return self.text or type(self).__name__


class WorkerLost(OutcomeError):
    """The worker that ran the message died and the message may not run again."""


class MasterLost(OutcomeError):
    """The master that held the message died and the message may not run again."""


class PoisonTask(OutcomeError):
    """The message ended every worker that ran it alone, ``attempts`` times."""


class DeadlineExceeded(OutcomeError):
    """The message had no outcome when its time was over."""


class Cancelled(OutcomeError):
    """The message was cancelled before it had an outcome."""


class PayloadTooLarge(OutcomeError):
    """The message, or its result, is larger than ``limit`` bytes."""

    def __init__(self, text: str = "", *, limit: int = 0, **where: Any) -> None:
        super().__init__(text, **where)
        self.limit = limit


class StageLost(OutcomeError):
    """A stage of the pipeline vanished and did not come back."""


class Unroutable(OutcomeError):
    """No stage subscribes to the topic of the message."""


class WouldDeadlock(OutcomeError):
    """A function called its own master while no worker was free."""


class RegistryError(PalmError):
    """The registry refused a request or cannot be reached."""
