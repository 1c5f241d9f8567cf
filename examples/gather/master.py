"""A master that adds up the results of its workers."""

from collections.abc import Iterator

from palm.servers import Master, Message


class Adder(Master):
    """Has the hook ``gather``."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.counter = 0
        self.total = 0

    def gather(self, message: Message) -> Iterator[Message]:
        """Yield the sum of four results when the fourth is there, and nothing before."""
        self.counter += 1
        self.total += message.payload
        if self.counter % 4 == 0:
            yield self.change_payload(message, self.total)
            self.total = 0


if __name__ == "__main__":
    Adder("master").start()
