"""A client as a program with arguments."""

import argparse

from palm.clients import Client


def main() -> None:
    """Print the primes up to a number, and check some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="name of the master")
    parser.add_argument("--function", required=True, help="name of the function")
    parser.add_argument("--db", help="an address of the master; else it is found by its name")
    parser.add_argument("--up-to", type=int, default=1000, help="the largest number")
    args = parser.parse_args()
    numbers = range(args.up_to + 1)
    with Client(args.server, args.db) as client:
        found = list(client.job(f"{args.server}.{args.function}", numbers, ordered=True))
    primes = [number for number, prime in zip(numbers, found, strict=True) if prime]
    print(f"{len(primes)} primes up to {args.up_to}, the last is {primes[-1]}")
    if primes[:5] != [2, 3, 5, 7, 11] or (args.up_to == 1000 and len(primes) != 168):
        raise SystemExit(f"these are not the primes: {primes}")


if __name__ == "__main__":
    main()
