"""A worker whose function has any number of results."""

from collections.abc import Iterator

from palm.servers import MuxWorker


class Splitter(MuxWorker):
    """Serves ``words``."""

    def words(self, line: str) -> Iterator[str]:
        """Yield the words of a line."""
        yield from line.split()


if __name__ == "__main__":
    Splitter(master="master").start()
