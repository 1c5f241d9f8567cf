"""``palm runner``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from argparse import Namespace

from palm.cli.failures import OK
from palm.cli.foreground import log_level
from palm.runner.link import RegistryLink
from palm.runner.node import Node
from palm.runtime.folders import Folders

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Be the runner of a node until the cluster ends; a signal ends the runner alone."""
    logging.basicConfig(
        stream=sys.stderr,
        format="%(asctime)s - runner - %(levelname)s - %(message)s",
        level=log_level(),
    )
    folders = Folders.find()
    link = RegistryLink(folders, arguments.registry or os.environ.get("PALM_REGISTRY", ""))
    node = Node(folders, link, arguments.name or "")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: node.stop())
    try:
        node.run()
    finally:
        link.close()
    return OK
