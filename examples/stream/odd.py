"""The stage that gets the odd numbers."""

from addresses import ODD_DB, ODD_PUB, SERVER_PUB

from palm.servers import Pipeline


class Odd(Pipeline):
    """Serves ``tell``."""

    def tell(self, number: int) -> str:
        """Say what kind of number it is."""
        return f"{number} is odd"


if __name__ == "__main__":
    Odd("odd", ODD_DB, SERVER_PUB, ODD_PUB, previous="odd", to_client=True).start()
