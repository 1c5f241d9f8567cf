"""The first stage: messages go left and right by turns."""

from addresses import SERVER_DB, SERVER_PUB, SERVER_PULL

from palm.servers import Message, Server


class First(Server):
    """Serves ``echo``, as every server does."""

    def __init__(self) -> None:
        super().__init__("first", SERVER_DB, SERVER_PULL, SERVER_PUB, pipelined=True)
        self.counter = 0

    def handle_stream(self, message: Message) -> tuple[str, Message]:
        """Return the topic of a result."""
        self.counter += 1
        return ("left" if self.counter % 2 else "right"), message


if __name__ == "__main__":
    First().start()
