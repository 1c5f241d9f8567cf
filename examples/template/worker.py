"""A worker of the component."""

from palm.servers import Worker


class Reverser(Worker):
    """Turns messages round."""

    def reverse(self, message: bytes) -> bytes:
        return message[::-1]


if __name__ == "__main__":
    Reverser(master="template").start()
