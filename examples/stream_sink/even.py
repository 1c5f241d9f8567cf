"""The stage that gets the even numbers."""

from palm.servers import Pipeline


class Even(Pipeline):
    """Serves ``halve``."""

    def halve(self, number: int) -> int:
        """Return half of a number."""
        return number // 2


if __name__ == "__main__":
    Even("even", previous="first/even", to_client=False).start()
