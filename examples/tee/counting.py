"""A stage that keeps what it gets, and sends nothing on."""

from addresses import COUNTING_DB, COUNTING_PUB, SERVER_PUB

from palm.servers import Pipeline


class Counting(Pipeline):
    """Serves ``count``."""

    def count(self, number: int) -> None:
        """Add a number to those that were there; None has no result."""
        self.set(self.get("total", 0) + number, "total")
        self.set(self.get("count", 0) + 1, "count")


if __name__ == "__main__":
    Counting(
        "counting", COUNTING_DB, SERVER_PUB, COUNTING_PUB, previous="first", to_client=True
    ).start()
