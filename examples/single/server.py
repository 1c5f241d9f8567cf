"""A server with one function."""

from palm.servers import Server


class Shouter(Server):
    """Serves ``shout``."""

    def shout(self, message: bytes) -> bytes:
        """Return the message in capitals."""
        return message.upper() + b"!"


if __name__ == "__main__":
    Shouter("shouter").start()
