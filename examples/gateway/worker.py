"""Counts words, for whoever asks the server ``words``."""

from collections import Counter

from palm.servers import Worker


class Words(Worker):
    """Serves two functions: one for values, one for bytes."""

    def count(self, text: str) -> dict[str, int]:
        """Return how often each word is in a text."""
        return Counter(text.lower().split())

    def shout(self, text: bytes) -> bytes:
        """Return a text in capitals."""
        return text.upper()


if __name__ == "__main__":
    Words(master="words").start()
