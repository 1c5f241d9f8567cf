"""A stage whose results go to the client."""

from addresses import ANSWERING_DB, ANSWERING_PUB, SERVER_PUB

from palm.servers import Pipeline


class Answering(Pipeline):
    """Serves ``answer``."""

    def answer(self, number: int) -> int:
        """Return the next number."""
        return number + 1


if __name__ == "__main__":
    Answering(
        "answering", ANSWERING_DB, SERVER_PUB, ANSWERING_PUB, previous="first", to_client=True
    ).start()
