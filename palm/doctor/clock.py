"""Clocks: of this machine, of the registry's, of the nodes'."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Final

from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.page import ask
from palm.doctor.patient import Patient
from palm.registry_api.client import Refused

__all__ = ["check_nodes", "check_registry", "check_time_service"]

#: Seconds by which clocks may differ, and after which times make no sense any more.
_APART: Final = 3.0
_FAR: Final = 60.0
#: Seconds that a sample may be old.
_LATE: Final = 20.0
#: What adjtimex returns if nobody keeps the clock right.
_TIME_ERROR = 5
_SET = "set the clock, and have a time service keep it: timedatectl set-ntp true"


def check_registry(patient: Patient) -> Iterator[Finding]:
    """Does the registry's clock say the same?"""
    if not patient.answers:
        yield ok("no registry answers to compare with")
        return
    before = time.time()
    _, headers, _ = ask(patient, "health")
    after = time.time()
    if "date" not in headers:
        yield ok("the registry does not say what time it is")
        return
    # Its clock is told in whole seconds, cut off.
    there = parsedate_to_datetime(headers["date"]).timestamp() + 0.5
    yield _judge(there - (before + after) / 2, "the registry's clock")


def _judge(offset: float, whose: str) -> Finding:
    where = "ahead of" if offset > 0 else "behind"
    text = f"{whose} is {abs(offset):.0f} s {where} ours"
    if abs(offset) > _FAR:
        return problem(text, _SET)
    if abs(offset) > _APART:
        return warning(text, _SET)
    return ok(f"{whose} says the same as ours")


def check_nodes(patient: Patient) -> Iterator[Finding]:
    """Do the clocks of the nodes say the same as the registry's?"""
    if not patient.answers:
        yield ok("no registry answers to compare with")
        return
    try:
        with patient.registry() as client:
            metrics = client.metrics(patient.folders.cluster)
    except Refused as error:
        if error.status != 404:
            raise
        yield ok("no cluster, and so no nodes")
        return
    latest: dict[str, float] = {}
    for sample in metrics.samples:
        latest[sample.node] = max(latest.get(sample.node, 0.0), sample.time)
    offsets = {node: moment - metrics.time for node, moment in latest.items()}
    wrong = {node: by for node, by in offsets.items() if not -_LATE < by < _APART}
    for node, by in sorted(wrong.items()):
        yield _judge(by, f"the clock of node {node}, compared with the registry's,")
    if not wrong:
        yield ok(
            f"none is apart: {', '.join(sorted(offsets))}" if offsets else "no node has said so far"
        )


def check_time_service(patient: Patient) -> Iterator[Finding]:
    """Does anybody keep the clock right?"""
    kept = _is_kept()
    if kept is None:
        yield ok("the system does not say whether the clock is kept right")
    elif kept:
        yield ok("the clock is kept right")
    elif patient.is_remote:
        yield warning("nobody keeps the clock right", "timedatectl set-ntp true")
    else:
        yield ok("nobody keeps the clock right, which matters with several machines only")


def _is_kept() -> bool | None:
    """Whether a time service has the clock under control; None if the system does not say."""
    if not sys.platform.startswith("linux"):
        return None
    ask_kernel = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if ask_kernel is None:
        return None
    state = ask_kernel(ctypes.create_string_buffer(512))  # all zero: only asks
    return None if state < 0 else state != _TIME_ERROR
