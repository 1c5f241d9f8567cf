"""The second stage."""

from palm.servers import Pipeline


class Second(Pipeline):
    """Serves ``tell``."""

    def tell(self, number: int) -> str:
        """Return a number as text."""
        return f"the square is {number}"


if __name__ == "__main__":
    Second("second", previous="master", to_client=True).start()
