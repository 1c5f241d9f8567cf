"""The last stage: takes what both stages before it make, and leaves out what is too small."""

from palm.servers import Sink


class Last(Sink):
    """Serves ``keep``."""

    def keep(self, number: int) -> int | None:
        """Return a number of at least four; None has no result."""
        return number if number >= 4 else None


if __name__ == "__main__":
    Last("sink", previous=["even", "odd"], to_client=True).start()
