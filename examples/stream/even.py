"""The stage that gets the even numbers."""

from addresses import EVEN_DB, EVEN_PUB, SERVER_PUB

from palm.servers import Pipeline


class Even(Pipeline):
    """Serves ``tell``."""

    def tell(self, number: int) -> str:
        """Say what kind of number it is."""
        return f"{number} is even"


if __name__ == "__main__":
    Even("even", EVEN_DB, SERVER_PUB, EVEN_PUB, previous="even", to_client=True).start()
