"""One of the two stages in the middle: its results go on to the sink."""

from addresses import LEFT_DB, LEFT_PUB, SERVER_PUB

from palm.servers import Pipeline


class Left(Pipeline):
    """Serves ``mark``."""

    def mark(self, message: str) -> str:
        """Say which way the message went."""
        return f"{message} went left"


if __name__ == "__main__":
    Left("left", LEFT_DB, SERVER_PUB, LEFT_PUB, previous="left", to_client=False).start()
