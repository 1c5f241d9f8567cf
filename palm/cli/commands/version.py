"""``palm version``."""

from __future__ import annotations

import json
import platform
from argparse import Namespace
from importlib.metadata import version

from palm._version import __version__
from palm.cli.failures import OK
from palm.doctor import Patient
from palm.errors import PalmError
from palm.runtime.folders import Folders
from palm.transport.security import libzmq_version

__all__ = ["run"]


def run(arguments: Namespace) -> int:
    """Print versions: of palm, of what it stands on, and of what runs of it."""
    found = {
        "palm": __version__,
        "python": platform.python_version(),
        "pyzmq": version("pyzmq"),
        "libzmq": libzmq_version(),
        **_running(Patient(Folders.locate())),
    }
    if arguments.json:
        print(json.dumps(found))
    else:
        for name, text in found.items():
            print(f"{name:<9} {text or '-'}")
    return OK


def _running(patient: Patient) -> dict[str, str]:
    """Versions of the registry and the runner; "" for what does not run, or does not say."""
    registry = ""
    if patient.url:
        try:
            with patient.registry() as client:
                registry = client.health().version
        except PalmError:
            registry = ""  # palm doctor says why it does not answer
    return {"registry": registry, "runner": patient.runner_version}
