"""Making all checks, one after the other, each in a thread that nobody waits for too long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from palm.doctor import (
    addresses,
    clock,
    dead,
    files,
    jupyter,
    keys,
    machine,
    page,
    proxies,
    registry,
    running,
    software,
)
from palm.doctor.finding import Finding, problem
from palm.doctor.patient import Patient

__all__ = ["CHECKS", "LIMIT", "Check", "examine"]

Check = Callable[[Patient], Iterable[Finding]]

#: Seconds that a check has.
LIMIT: Final = 2.0

#: All checks, in the order in which they are shown.
CHECKS: Final[Mapping[str, Check]] = {
    "python": software.check_python,
    "palm": software.check_palm,
    "other palms": software.check_others,
    "libraries": software.check_libraries,
    "libzmq": software.check_libzmq_here,
    "jupyter": jupyter.check_versions,
    "notebook server": jupyter.check_server,
    "run folder": files.check_run,
    "state folder": files.check_state,
    "files": files.check_modes,
    "socket paths": files.check_socket_paths,
    "keys": keys.check_keys,
    "token": keys.check_token,
    "registry": registry.check_registry,
    "certificate": registry.check_certificate,
    "cluster": registry.check_cluster,
    "page": page.check_page,
    "browser": page.check_browser,
    "proxies": proxies.check_proxies,
    "versions that run": running.check_versions,
    "clock": clock.check_registry,
    "clocks of nodes": clock.check_nodes,
    "time service": clock.check_time_service,
    "loopback": addresses.check_loopback,
    "ports": addresses.check_ports,
    "addresses": addresses.check_bound,
    "open files": machine.check_descriptors,
    "disk": machine.check_disk,
    "memory": machine.check_memory,
    "processes": machine.check_processes,
    "left by the dead": dead.check_leftovers,
}


def examine(
    patient: Patient, checks: Mapping[str, Check] = CHECKS, limit: float = LIMIT
) -> Iterator[Finding]:
    """Yield what each check finds, or why it could not be made."""
    for name, check in checks.items():
        for finding in _make(check, patient, limit):
            yield replace(finding, check=name)


def _make(check: Check, patient: Patient, limit: float) -> list[Finding]:
    found: list[Finding] = []
    error: list[Exception] = []

    def work() -> None:
        try:
            found.extend(check(patient))
        except Exception as raised:  # noqa: BLE001 - the others are to be made, and this one shown
            error.append(raised)

    # One that hangs, at a disk that is gone, cannot be ended; it ends with the process.
    thread = threading.Thread(target=work, name="palm-doctor", daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        text = f"no answer within {limit:g} s"
        return [problem(text, "see whether a disk or the network hangs, and try again")]
    if error:
        text = f"it cannot be checked: {type(error[0]).__name__}: {error[0]}"
        return [*found, problem(text, "mend that first; if it makes no sense, report it as a bug")]
    return found
