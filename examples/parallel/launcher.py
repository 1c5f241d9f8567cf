"""A client that sends ten messages, prints the results, and ends."""

import argparse
from itertools import repeat

from palm.clients import Client


def main() -> None:
    """Print ten results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True, help="name of the master")
    parser.add_argument("--function", required=True, help="name of the function")
    parser.add_argument("--db", default="tcp://127.0.0.1:5559", help="address of the master")
    args = parser.parse_args()
    client = Client(args.server, args.db)
    for result in client.job(f"{args.server}.{args.function}", repeat(b" a message", 10)):
        print(result)


if __name__ == "__main__":
    main()
