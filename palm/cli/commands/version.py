"""``palm version``."""

from __future__ import annotations

import json
from argparse import Namespace

from palm._version import __version__
from palm.cli.failures import OK

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the version."""
    print(json.dumps({"palm": __version__}) if arguments.json else f"palm {__version__}")
    return OK
