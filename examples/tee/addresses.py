"""Where the components listen: at ports from 5555 on, or from ``EXAMPLE_PORT`` on."""

import os

PORT = int(os.environ.get("EXAMPLE_PORT", "5555"))
SERVER_DB = f"tcp://127.0.0.1:{PORT}"
SERVER_PULL = f"tcp://127.0.0.1:{PORT + 1}"
SERVER_PUB = f"tcp://127.0.0.1:{PORT + 2}"
ANSWERING_DB = f"tcp://127.0.0.1:{PORT + 3}"
ANSWERING_PUB = f"tcp://127.0.0.1:{PORT + 4}"
COUNTING_DB = f"tcp://127.0.0.1:{PORT + 5}"
COUNTING_PUB = f"tcp://127.0.0.1:{PORT + 6}"
