"""The notebook's side: versions, and how its browser reaches what runs here."""

from __future__ import annotations

from collections.abc import Iterator

from palm.doctor.finding import Finding, ok, warning
from palm.doctor.patient import Patient
from palm.doctor.software import is_older, version_of

__all__ = ["check_server", "check_versions"]

#: The oldest versions that draw the panels.
_OLDEST = {"jupyterlab": "4", "notebook": "7"}


def check_versions(patient: Patient) -> Iterator[Finding]:
    """Can a notebook server of this environment draw the panels?"""
    have = {name: version_of(name) for name in _OLDEST}
    found = ", ".join(f"{name} {number}" for name, number in have.items() if number)
    old = [name for name, number in have.items() if number and is_older(number, _OLDEST[name])]
    if old:
        yield warning(found, f"panels need a newer one: pip install -U {' '.join(old)}")
    elif found:
        yield ok(found)
    else:
        yield ok("none here; notebooks are served by another environment, or not at all")


def check_server(patient: Patient) -> Iterator[Finding]:
    """Does a browser that only reaches the notebook server reach the registry's page?"""
    proxy = version_of("jupyter-server-proxy")
    prefix = patient.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
    where = f"a JupyterHub, under {prefix}" if prefix else "no hub"
    if proxy:
        yield ok(f"{where}; jupyter-server-proxy {proxy}")
    elif prefix:
        yield warning(
            f"{where}, without jupyter-server-proxy: the registry's page cannot be reached",
            "pip install jupyter-server-proxy, and start the server anew; panels work without",
        )
    else:
        yield ok(f"{where}; without jupyter-server-proxy, which panels do not need")
