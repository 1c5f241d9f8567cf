"""The first stage: each of its results goes to all who subscribe to it."""

from addresses import SERVER_DB, SERVER_PUB, SERVER_PULL

from palm.servers import Server


class First(Server):
    """Serves ``double``."""

    def double(self, number: int) -> int:
        """Return the double of a number."""
        return 2 * number


if __name__ == "__main__":
    First("first", SERVER_DB, SERVER_PULL, SERVER_PUB, pipelined=True).start()
