"""One of the two stages in the middle: its results go on to the sink."""

from addresses import RIGHT_DB, RIGHT_PUB, SERVER_PUB

from palm.servers import Pipeline


class Right(Pipeline):
    """Serves ``mark``."""

    def mark(self, message: str) -> str:
        """Say which way the message went."""
        return f"{message} went right"


if __name__ == "__main__":
    Right("right", RIGHT_DB, SERVER_PUB, RIGHT_PUB, previous="right", to_client=False).start()
