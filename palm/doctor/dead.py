"""What dead processes left behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from palm.clusters import Leftovers
from palm.clusters.states import cluster_states
from palm.doctor.finding import Finding, ok, warning
from palm.doctor.patient import Patient
from palm.spec.size import readable_size

__all__ = ["check_leftovers"]


def check_leftovers(patient: Patient) -> Iterator[Finding]:
    """What would ``palm gc`` remove?"""
    if not patient.folders.run.is_dir():
        yield ok("nothing")
        return
    known = cluster_states(patient.folders)
    found = Leftovers(patient.folders, known.state_of, known.url).find()
    if not found:
        yield ok("nothing")
        return
    kinds = Counter(each.kind for each in found)
    shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    total = readable_size(sum(each.size for each in found))
    yield warning(f"{shown}: {total}", "palm gc removes it")
