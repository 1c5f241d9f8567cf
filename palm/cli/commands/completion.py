"""``palm completion``."""

from __future__ import annotations

import sys
from argparse import Namespace
from importlib.resources import files

from palm.cli.failures import OK

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print the script by which a shell completes ``palm``."""
    text = files("palm.cli").joinpath(f"completions/palm.{arguments.shell}").read_text("utf-8")
    sys.stdout.write(text)
    return OK
