"""Keys of the clusters, and the token for the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from palm.doctor.finding import Finding, ok, problem, warning
from palm.doctor.patient import Patient
from palm.errors import AuthenticationError, ConfigError, PalmError
from palm.files import privatefile
from palm.transport.keys import read_keyring

__all__ = ["check_keys", "check_token"]

#: Days after which keys are old.
_OLD = 365
_MAX_TOKEN = 64 * 1024


def check_keys(patient: Patient) -> Iterator[Finding]:
    """Can the keys of each cluster be read, and do they belong together?"""
    folders = sorted(patient.folders.state.glob("*/keys"))
    if not folders:
        yield ok("none yet; the first component makes them")
    for folder in folders:
        yield from _check_folder(folder)


def _check_folder(folder: Path) -> Iterator[Finding]:
    cluster = folder.parent.name
    if not any(folder.glob("*.json")):
        return
    try:
        keyring = read_keyring(folder)
    except AuthenticationError as error:
        text, _, advice = str(error).partition("; if none has read it: ")
        yield problem(text, advice or "see whose file it is, and remove it")
        return
    except ConfigError as error:
        advice = f"stop the components, remove {folder}, start them again: new keys are made"
        yield problem(str(error.args[0]), error.hint or advice)
        return
    days = _age(keyring.owner.created)
    found = f"3 keys of cluster {cluster!r}, {days} days old"
    if days > _OLD:
        yield warning(found, f"palm --cluster {cluster} down; rm -r {folder}: new ones are made")
    else:
        yield ok(found)


def _age(created: str) -> int:
    then = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return max(0, int((time.time() - then.timestamp()) // 86400))


def check_token(patient: Patient) -> Iterator[Finding]:
    """Is the token there, and ours alone?"""
    given = patient.environ.get("PALM_TOKEN_FILE", "")
    path = Path(given) if given else patient.folders.state / "tokens" / "owner"
    if not given and not path.exists():
        yield ok("none yet; the first registry makes it")
        return
    try:
        token = privatefile.read(path, "token", _MAX_TOKEN)
    except PalmError as error:
        text, _, advice = str(error).partition("; if none has read it: ")
        way = "name another file in PALM_TOKEN_FILE" if given else f"mend or remove {path}"
        yield problem(text, advice or way)
        return
    if len(token.strip()) < 32:
        yield problem(f"{path} is not a token", "have another made: palm token add NAME --out FILE")
    else:
        yield ok(f"{path}, mode 0600")
