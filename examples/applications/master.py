"""A master as a program with arguments."""

import argparse

from palm.servers import Master


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="its name")
    parser.add_argument("--pull", help="where clients send their messages")
    parser.add_argument("--pub", help="where clients get their results")
    parser.add_argument("--wpush", help="where workers get messages")
    parser.add_argument("--wpull", help="where workers send results")
    parser.add_argument("--db", help="where the shared values are")
    args = parser.parse_args()
    Master(
        args.name,
        pull_address=args.pull,
        pub_address=args.pub,
        worker_pull_address=args.wpull,
        worker_push_address=args.wpush,
        db_address=args.db,
    ).start()


if __name__ == "__main__":
    main()
