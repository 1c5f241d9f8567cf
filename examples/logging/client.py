"""Sends ten messages; the worker writes what it does."""

from palm.clients import Client

if __name__ == "__main__":
    with Client("quiet") as client:
        counts = list(client.job("quiet.count", ["a message"] * 10))
    print(*counts)
    if sorted(counts) != list(range(1, 11)):
        raise SystemExit("the worker did not count to ten")
