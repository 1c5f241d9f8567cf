"""A worker with one function."""

from palm.servers import Worker


class Squarer(Worker):
    """Serves ``square``."""

    def square(self, number: int) -> int:
        """Return the square of a number."""
        return number * number


if __name__ == "__main__":
    Squarer(master="master").start()
