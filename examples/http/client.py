"""Asks which numbers are primes; that the function is behind a URL makes no difference."""

import sys

from palm import Client


def main() -> None:
    """Count primes, and make sure that there are as many as there should be."""
    with Client("primes") as client:
        answers = list(client.job("primes.is_prime", range(10_000), ordered=True))
    primes = [number for number, is_prime in enumerate(answers) if is_prime]
    print(f"{len(primes)} primes below 10,000, the last ones are {primes[-3:]}")
    if (len(primes), primes[-1]) != (1229, 9973):
        sys.exit("there are 1,229, and the last one is 9,973")


if __name__ == "__main__":
    main()
