"""The registry: is it there, does it answer, and does the cluster go on?"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.patient import Patient, without_password
from palm.errors import PalmError
from palm.registry_api.client import Refused, Unreachable
from palm.registry_api.trust import Trust

__all__ = ["check_certificate", "check_cluster", "check_registry"]

#: Days before its end in which a certificate should be renewed.
_SOON = 14
_TIMEOUT = 1.5


def check_registry(patient: Patient) -> Iterator[Finding]:
    """Does the registry run, answer, and take our token?"""
    record = patient.record
    if not patient.url:
        yield ok("none runs; palm up starts one")
        return
    shown = without_password(patient.url)
    if not patient.is_remote and record is not None and not record.is_running:
        text = f"the one at {shown} (pid {record.pid}) was killed"
        yield problem(text, "palm up starts it again, with all that it knew")
        return
    try:
        with patient.registry() as client:
            health = client.health()
            client.cluster_list()
    except Refused as error:
        if error.status == 401:
            file = patient.environ.get("PALM_TOKEN_FILE") or "the token of this user"
            advice = f"{file} is for another registry, or revoked: palm token add makes a new one"
            yield problem(f"{shown} does not take our token", advice)
        else:
            yield problem(f"{shown} refuses: {error}", error.hint or "see palm registry status")
    except Unreachable as error:
        advice = "see whether it runs there, and the way to it: a firewall, a tunnel"
        log = f"; its log is {patient.folders.state / 'registry.log'}"
        yield problem(str(error), advice if patient.is_remote else f"{advice}{log}")
    else:
        yield ok(f"{shown}, palm {health.version}, version {health.api} of the API")


def check_certificate(patient: Patient) -> Iterator[Finding]:
    """For how long is the certificate of the registry good?"""
    parts = urlsplit(patient.url)
    if parts.scheme != "https":
        yield ok("none: the registry speaks no TLS" if patient.url else "none")
        return
    host, port = parts.hostname or "", parts.port or 443
    try:
        context = Trust(patient.ca_file).context(host, port)
        with (
            socket.create_connection((host, port), _TIMEOUT) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            shown = tls.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        yield problem(
            f"it is not taken: {error.verify_message}",
            "palm registry restart renews one of its own making; replace another one",
        )
        return
    except (OSError, PalmError) as error:
        yield problem(f"it cannot be looked at: {error}", "see the registry above")
        return
    yield _days_left(str(shown.get("notAfter", "")))


def _days_left(end: str) -> Finding:
    days = int((ssl.cert_time_to_seconds(end) - time.time()) // 86400)
    if days < _SOON:
        advice = "replace it, and start the registry anew: palm registry restart"
        return warning(f"good for {days} more days", advice)
    return ok(f"good for {days} more days")


def check_cluster(patient: Patient) -> Iterator[Finding]:
    """Does the cluster go on, and does a runner look after it here?"""
    name = patient.folders.cluster
    if not patient.answers:
        yield ok(f"nothing is known of {name!r}: no registry answers")
        return
    with patient.registry() as client:
        states = {info.key: info for info in client.cluster_list()}
        found = states.get(name)
        if found is None or found.state != "alive":
            yield ok(f"{name!r} does not run; palm up starts it")
            return
        status = client.cluster_status(name)
    lost = [node.name for node in status.nodes if not node.alive]
    if lost:
        advice = "on each of these machines: palm up, or palm runner with the options it had"
        yield problem(f"{name!r} has lost the node {', '.join(lost)}", advice)
    elif not patient.is_remote and patient.runner is None:
        yield problem(f"{name!r} has no runner here", "palm up starts it again")
    else:
        missing = sum(each.count for each in status.missing)
        text = f"{name!r} runs on {_counted(len(status.nodes), 'node')}"
        if missing:
            why = "; ".join(f"{each.component}: {each.why}" for each in status.missing)
            yield warning(
                f"{text}; {_counted(missing, 'process')} missing: {why}",
                "see palm status, and palm logs NAME",
            )
        else:
            yield ok(text)


def _counted(count: int, what: str) -> str:
    several = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count} {what if count == 1 else several}"
