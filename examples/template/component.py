"""A component from parts: what a master does, with steps of one's own around its workers."""

from palm.parts import WORKERS, Assembly
from palm.servers import Message


def check(message: Message) -> Message | None:
    """Let no empty message through, and mark the others."""
    if not message.payload:
        return None
    return message.with_payload(b"checked " + message.payload)


def repeat(message: Message):
    """Make two results of each."""
    yield message
    yield message.with_payload(message.payload.upper())


if __name__ == "__main__":
    Assembly("template", [check, WORKERS, repeat]).start()
