"""Where a registry is, and what its certificate is known by."""

from __future__ import annotations

from pathlib import Path

import pytest

from palm.naming.whereabouts import locate_registry
from palm.runtime.folders import Folders

ELSEWHERE = "https://192.0.2.1:8443/"


@pytest.fixture
def certificate(palm_home: Path) -> Path:
    """What a registry on another machine with this state folder has left there."""
    state = Folders.find().state
    for folder, file in (("tokens", "owner"), ("tls", "registry.crt")):
        (state / folder).mkdir(mode=0o700)
        (state / folder / file).touch(mode=0o600)
        (state / folder / file).write_text("secret")
    return state / "tls/registry.crt"


def test_registry_elsewhere_of_the_owner_has_the_certificate_of_the_state_folder(
    certificate: Path,
) -> None:
    found = locate_registry(Folders.find(), ELSEWHERE)
    assert found is not None and (found.token, found.ca_file) == ("secret", str(certificate))


def test_registry_of_somebody_else_does_not(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    monkeypatch.setenv("PALM_TOKEN_FILE", str(token))
    found = locate_registry(Folders.find(), ELSEWHERE)
    assert found is not None and not found.ca_file
