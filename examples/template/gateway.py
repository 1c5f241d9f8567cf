"""A gateway from parts: an inlet brings in what comes by HTTP."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from palm.clients import Client
from palm.errors import JobError
from palm.parts import Assembly
from palm.servers import Message

PORT = int(os.environ.get("EXAMPLE_PORT", "8899"))


def greet(message: Message) -> bytes:
    """Answer a request."""
    if not message.payload:
        raise ValueError("whom?")
    return b"hello, " + message.payload


def http(client: Client, stopping: threading.Event) -> None:
    """Serve HTTP until the component stops; each request is a message."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("Content-Length", 0)), 65536)
            try:
                status, answer = 200, client.eval("greet", self.rfile.read(length), timeout=10.0)
            except JobError as error:
                status, answer = 500, str(error).splitlines()[0].encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", PORT), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stopping.wait()
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    Assembly("doorman", [greet], inlets=[http]).start()
