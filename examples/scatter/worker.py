"""A worker with one function."""

from palm.servers import Worker


class Doubler(Worker):
    """Serves ``double``."""

    def double(self, message: bytes) -> bytes:
        """Return the message twice."""
        return message + message


if __name__ == "__main__":
    Doubler(master="master").start()
