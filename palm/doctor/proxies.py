"""Proxies that stand between programs and the registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from palm.doctor.finding import Finding, ok, warning
from palm.doctor.patient import Patient, without_password

__all__ = ["check_proxies", "goes_past"]

_NAMES = ("http_proxy", "https_proxy", "all_proxy")


def check_proxies(patient: Patient) -> Iterator[Finding]:
    """Do the variables for proxies keep programs away from the registry?"""
    found = {
        name: value for name, value in patient.environ.items() if name.lower() in _NAMES and value
    }
    if not found:
        yield ok("none")
        return
    shown = ", ".join(f"{name} is {without_password(url)}" for name, url in found.items())
    hosts = ["127.0.0.1", "localhost"]
    if (host := urlsplit(patient.url).hostname) and host not in hosts:
        hosts.append(host)
    caught = [host for host in hosts if not goes_past(host, patient.environ)]
    if caught:
        known = patient.environ.get("NO_PROXY") or patient.environ.get("no_proxy") or ""
        value = ",".join([*filter(None, [known]), *caught])
        yield warning(
            f"{shown}, also for {', '.join(caught)}: palm itself goes straight there; browsers,"
            " curl and notebook servers ask the proxy, which cannot help",
            f"export NO_PROXY={value} no_proxy={value}",
        )
    else:
        yield ok(f"{shown}; not for {', '.join(hosts)}")


def goes_past(host: str, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY names a host: itself, a domain that it is in, or all."""
    text = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    for entry in filter(None, (part.strip().lower() for part in text.split(","))):
        name = entry.rpartition(":")[0] if entry.count(":") == 1 else entry
        if name == "*" or host == name or host.endswith(f".{name.lstrip('.')}"):
            return True
        if "/" in name and _is_within(host, name):
            return True
    return False


def _is_within(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:  # a name, or no network
        return False
