"""The stage that gets the odd numbers."""

from palm.servers import Pipeline


class Odd(Pipeline):
    """Serves ``triple``."""

    def triple(self, number: int) -> int:
        """Return three times a number, and one more."""
        return 3 * number + 1


if __name__ == "__main__":
    Odd("odd", previous="first/odd", to_client=False).start()
