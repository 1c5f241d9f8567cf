"""A worker whose function needs more than its message: it reads the rest from the cache."""

from palm.servers import Worker


class Reader(Worker):
    """Puts what clients keep under "cached" before each message."""

    def greet(self, name: bytes) -> bytes:
        """Return the shared greeting with a name after it."""
        greeting = self.get("cached")
        return greeting + b", " + name

    def count(self, word: str) -> None:
        """Count a word for all workers and clients together."""
        while True:
            seen = self.cache.setdefault(word, 0)
            if self.cache.cas(word, seen, seen + 1):
                return


if __name__ == "__main__":
    Reader("reader", master="library").start()
