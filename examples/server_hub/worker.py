"""A worker of the hub."""

from addresses import HUB_DB

from palm.servers import Worker


class Counting(Worker):
    """Serves ``length``."""

    def length(self, text: str) -> int:
        """Return the length of a text."""
        return len(text)


if __name__ == "__main__":
    Counting(db_address=HUB_DB).start()
