"""The doctor: looks for what is wrong with palm on this machine, and says what to do.

Each check is a function that is given the `Patient` and yields what it found. A check changes
nothing, shows no secret, and has two seconds.
"""

from __future__ import annotations

from palm.doctor.examination import CHECKS, examine
from palm.doctor.finding import Finding, State
from palm.doctor.patient import Patient

__all__ = ["CHECKS", "Finding", "Patient", "State", "examine"]
