"""Where the components listen: at ports from 5555 on, or from ``EXAMPLE_PORT`` on."""

import os

PORT = int(os.environ.get("EXAMPLE_PORT", "5555"))
SERVER_DB = f"tcp://127.0.0.1:{PORT}"
SERVER_PULL = f"tcp://127.0.0.1:{PORT + 1}"
SERVER_PUB = f"tcp://127.0.0.1:{PORT + 2}"
LEFT_DB = f"tcp://127.0.0.1:{PORT + 3}"
LEFT_PUB = f"tcp://127.0.0.1:{PORT + 4}"
RIGHT_DB = f"tcp://127.0.0.1:{PORT + 5}"
RIGHT_PUB = f"tcp://127.0.0.1:{PORT + 6}"
SINK_DB = f"tcp://127.0.0.1:{PORT + 7}"
SINK_PUB = f"tcp://127.0.0.1:{PORT + 8}"
