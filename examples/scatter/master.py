"""A master that makes three messages of each."""

from collections.abc import Iterator

from palm.servers import Master, Message


class Scatterer(Master):
    """Has the hook ``scatter``."""

    def scatter(self, message: Message) -> Iterator[Message]:
        """Yield what goes to the workers in place of a message."""
        for letter in (b"a", b"b", b"c"):
            yield self.change_payload(message, message.payload + letter)


if __name__ == "__main__":
    Scatterer("master").start()
