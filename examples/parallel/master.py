"""A master that a registry's runner, or a person at a shell, can start."""

import argparse

from palm.servers import Master


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="name of the master")
    for option, what, port in (
        ("pull", "where clients send their messages", 5555),
        ("pub", "where clients get their results", 5556),
        ("wpush", "where workers get messages", 5557),
        ("wpull", "where workers send results", 5558),
        ("db", "where the shared values are", 5559),
    ):
        parser.add_argument(f"--{option}", default=f"tcp://127.0.0.1:{port}", help=what)
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
