"""The registry's page, as a browser would load it."""

from __future__ import annotations

import http.client
import re
import webbrowser
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from palm.doctor.finding import Finding, ok, problem
from palm.doctor.patient import Patient
from palm.files import privatefile
from palm.registry_api.trust import Trust

__all__ = ["Answer", "ask", "check_browser", "check_page"]

_TIMEOUT = 1.5
_MAX_TOKEN = 64 * 1024
_MOST = 4 * 2**20
_PART = re.compile(r"""(?:src|href)="([^"#]+)\"""")

#: Status, headers in small letters, and what was sent.
Answer = tuple[int, dict[str, str], bytes]


def ask(patient: Patient, path: str, token: str = "") -> Answer:
    """Get one address of the registry, as a browser does, without what a client checks."""
    parts = urlsplit(urljoin(_with_slash(patient.url), path))
    host, headers = parts.hostname or "", {"Authorization": f"Bearer {token}"} if token else {}
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = Trust(patient.ca_file).context(host, parts.port or 443)
        connection = http.client.HTTPSConnection(
            host, parts.port, timeout=_TIMEOUT, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT)
    with closing(connection):
        connection.request("GET", parts.path, headers=headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read(_MOST)


def _with_slash(url: str) -> str:
    return url if url.endswith("/") else f"{url}/"


def check_page(patient: Patient) -> Iterator[Finding]:
    """Are the page and all that it loads there?"""
    if not patient.answers:
        yield ok("no registry answers, and so no page")
        return
    token = _token(patient)
    advice = "start the registry anew: palm registry restart; if that is no help, install palm anew"
    status, _, text = ask(patient, "", token)
    if status != 200:
        yield problem(f"the page answers {status}", advice if status != 401 else "see the token")
        return
    parts = dict.fromkeys(_PART.findall(text.decode("utf-8", "replace")))
    wrong = {part: answer for part in parts if (answer := ask(patient, part, token)[0]) != 200}
    if wrong:
        shown = ", ".join(f"{part} answers {answer}" for part, answer in wrong.items())
        yield problem(f"the page lacks parts: {shown}", advice)
    else:
        yield ok(f"the page and its {len(parts)} parts are there")


def _token(patient: Patient) -> str:
    record = patient.record
    own = record.token_file if record is not None and not patient.is_remote else ""
    path = patient.environ.get("PALM_TOKEN_FILE") or own
    file = Path(path) if path else patient.folders.state / "tokens" / "owner"
    return privatefile.read(file, "token", _MAX_TOKEN).decode("ascii", "replace").strip()


def check_browser(patient: Patient) -> Iterator[Finding]:
    """Which browser would open the page, and from where?"""
    env = patient.environ
    if env.get("SSH_CONNECTION") and not env.get("DISPLAY"):
        port = urlsplit(patient.url).port or "PORT"
        host = env["SSH_CONNECTION"].split()[2:3] or ["HOST"]
        yield ok(
            f"you came by SSH: on your own machine, ssh -L {port}:127.0.0.1:{port} {host[0]},"
            " and open what palm ui prints"
        )
        return
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        yield ok("none here; open what palm ui prints where there is one")
        return
    yield ok(f"{getattr(browser, 'name', '') or type(browser).__name__} opens what palm ui prints")
