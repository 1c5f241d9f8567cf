"""The first stage: sends even numbers one way, and odd ones another."""

from addresses import SERVER_DB, SERVER_PUB, SERVER_PULL

from palm.servers import Message, Server


class Splitting(Server):
    """Serves ``next``; its results have topics."""

    def next(self, number: int) -> int:
        """Return the next number."""
        return number + 1

    def handle_stream(self, message: Message) -> tuple[str, Message]:
        """Return the topic of a result."""
        return ("odd" if message.payload % 2 else "even"), message


if __name__ == "__main__":
    Splitting("first", SERVER_DB, SERVER_PULL, SERVER_PUB, pipelined=True).start()
