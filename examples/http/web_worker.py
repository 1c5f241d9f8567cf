"""A function behind a URL: a WSGI application on the web server of the standard library.

Any other server for WSGI takes the same application. Nothing here knows of a master.
"""

import argparse
import os
import secrets
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from palm.gateways import wsgi_app
from palm.servers import Worker


class Primes(Worker):
    """Serves one function."""

    def is_prime(self, number: int) -> bool:
        """Tell whether a number is one."""
        return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


class Server(ThreadingMixIn, WSGIServer):
    """Answers requests side by side."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Does not write a line for each request."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def token_in(path: Path) -> Path:
    """Return a file with a token that only its user can read; make it if it is not there."""
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    return path


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8437, help="where to listen; 0: anywhere")
    parser.add_argument("--token-file", type=Path, default=Path("web.token"))
    args = parser.parse_args()
    app = wsgi_app(Primes, token_file=token_in(args.token_file))
    with make_server("127.0.0.1", args.port, app, Server, Quiet) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
