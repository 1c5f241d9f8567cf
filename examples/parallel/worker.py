"""A worker whose master is found at an address."""

import argparse
from uuid import uuid4

from palm.servers import Worker


class Stamper(Worker):
    """Serves one function, ``foo``."""

    def foo(self, message: bytes) -> bytes:
        """Put our name in front of the message."""
        return f"{self.name} processed".encode() + message


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default=str(uuid4()), help="name of this worker")
    parser.add_argument("--db", default="tcp://127.0.0.1:5559", help="address of the master")
    args = parser.parse_args()
    Stamper(args.name, args.db).start()


if __name__ == "__main__":
    main()
