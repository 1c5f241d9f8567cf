"""The first stage: even numbers go one way, odd ones another."""

from palm.servers import Message, Server


class First(Server):
    """Serves ``echo``, as every server does."""

    def handle_stream(self, message: Message) -> tuple[str, Message]:
        """Return the topic of a result."""
        return ("odd" if message.payload % 2 else "even"), message


if __name__ == "__main__":
    First("first", pipelined=True).start()
