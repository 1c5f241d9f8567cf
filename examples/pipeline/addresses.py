"""Where the components listen: at ports from 5555 on, or from ``EXAMPLE_PORT`` on."""

import os

PORT = int(os.environ.get("EXAMPLE_PORT", "5555"))
SERVER_DB = f"tcp://127.0.0.1:{PORT}"
SERVER_PULL = f"tcp://127.0.0.1:{PORT + 1}"
SERVER_PUB = f"tcp://127.0.0.1:{PORT + 2}"
PIPELINE_DB = f"tcp://127.0.0.1:{PORT + 3}"
PIPELINE_PUB = f"tcp://127.0.0.1:{PORT + 4}"
