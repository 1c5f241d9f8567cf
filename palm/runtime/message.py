"""Messages as hooks see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from palm.runtime.several import NOTHING, Several
from palm.runtime.tasks import current_run, current_task
from palm.wire.message import Route

__all__ = ["Hook", "Message", "current_message", "gathering", "routing", "scattering"]

Hook = Callable[["Message"], Any]


@dataclass(slots=True)
class Message:
    """A message on its way through a component.

    ``function`` is what the client named, for all stages. ``client`` is the name of the client:
    the topic of what goes to it. ``stage`` counts the components before this one, ``pipeline`` is
    the id of the job, ``cache`` what the client said with it. ``id`` is the same each time that
    the message is run, ``attempt`` counts its starts.
    """

    payload: Any
    function: str = ""
    client: str = ""
    stage: int = 0
    pipeline: str = ""
    cache: str = ""
    id: str = ""
    attempt: int = 1

    def with_payload(self, payload: Any) -> Message:
        """Return the same message with another payload."""
        return replace(self, payload=payload)


def scattering(scatter: Hook) -> Callable[[Any], Several]:
    """Return a function whose results are the payloads of the messages that a hook yields."""

    def call(value: Any) -> Several:
        return Several(("", _payload(each)) for each in _yielded(scatter, current_message(value)))

    return call


def gathering(gather: Hook | None, handle_stream: Hook | None) -> Callable[[Any], Several]:
    """Return a function whose results are those of the two hooks, one after the other."""

    def call(value: Any) -> Several:
        message = current_message(value)
        messages = [message] if gather is None else _yielded(gather, message)
        return Several(_routed(handle_stream, each, message) for each in messages)

    return call


def routing(
    function: Callable[[Any], Any], handle_stream: Hook, *, drops_none: bool
) -> Callable[[Any], Several]:
    """Return a function whose results are those of ``function``, each with a topic of its own."""

    def call(value: Any) -> Several:
        result = function(value)
        if result is None and drops_none:
            return NOTHING
        if isinstance(result, Several):
            messages = [current_message(each) for _, each in result.pairs]
        else:
            messages = [current_message(result)]
        return Several(_routed(handle_stream, each, each) for each in messages)

    return call


def current_message(payload: Any) -> Message:
    """Return the message that this thread works on, with another payload."""
    task = current_task()
    route = current_run().invoke.task.route or Route()
    return Message(
        payload,
        route.function,
        route.client,
        route.stage,
        route.job.hex(),
        route.cache,
        task.id,
        task.attempt,
    )


def _yielded(hook: Hook, message: Message) -> Iterable[Any]:
    messages = hook(message)
    return () if messages is None else messages


def _routed(handle_stream: Hook | None, message: Any, like: Message) -> tuple[str, Any]:
    if handle_stream is None:
        return "", _payload(message)
    if not isinstance(message, Message):
        message = like.with_payload(message)
    topic, message = handle_stream(message)
    name = topic.decode() if isinstance(topic, bytes) else topic
    if not isinstance(name, str):
        raise TypeError(f"handle_stream returned the topic {name!r}, which is not a str")
    return name, _payload(message)


def _payload(message: Any) -> Any:
    return message.payload if isinstance(message, Message) else message
