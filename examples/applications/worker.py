"""A worker as a program with arguments."""

import argparse

from palm.servers import Worker


class Primes(Worker):
    """Serves ``is_prime``."""

    def is_prime(self, number: int) -> bool:
        """Say whether a number is prime."""
        return number > 1 and all(number % i for i in range(2, int(number**0.5) + 1))


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="", help="its name")
    parser.add_argument("--db", required=True, help="an address of the master, or its name")
    args = parser.parse_args()
    Primes(args.name, args.db).start()


if __name__ == "__main__":
    main()
