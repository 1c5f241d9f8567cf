"""A server with a function that has a bug."""

from palm.servers import Server


class Careless(Server):
    """Serves ``broken`` and ``fine``."""

    def broken(self, message: bytes) -> bytes:
        """Raise NameError: there is no such variable."""
        return massage  # noqa: F821 - that is the point

    def fine(self, message: bytes) -> bytes:
        """Return the message."""
        return message


if __name__ == "__main__":
    Careless("careless").start()
