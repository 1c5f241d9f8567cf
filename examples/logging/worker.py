"""A worker that logs each of its messages."""

import logging

from palm.servers import Worker


class Counting(Worker):
    """Serves ``count``."""

    def __init__(self, name: str) -> None:
        super().__init__(name, master="quiet", log_level=logging.DEBUG)
        self.counter = 0

    def count(self, message: str) -> int:
        """Return how many messages there were."""
        self.counter += 1
        self.logger.debug("message %d is %r", self.counter, message)
        if self.counter % 5 == 0:
            self.logger.info("%d messages so far", self.counter)
        return self.counter


if __name__ == "__main__":
    Counting("counting").start()
