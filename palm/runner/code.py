"""The code of components on a node: used where it is, or fetched and laid down by its content.

Below a folder of the node each set of files has a folder by the SHA-256 of what is in it. It is
made under another name, checked, made read-only, and renamed, so it is whole or not there, and all
replicas share it.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from palm.errors import ConfigError, RegistryError
from palm.registry_api.client import Refused
from palm.runtime.folders import private_folder
from palm.spec.code import code_flaws, identity_of, relocated
from palm.spec.component import Code, CodeFile, ComponentSpec

__all__ = ["CodeFolders", "place_of"]

_log = logging.getLogger("palm.runner")


def place_of(folder: str) -> str:
    """Return what tells a folder from one of the same path elsewhere, "" if it is not there."""
    try:
        found = os.stat(folder)
    except OSError:
        return ""
    told = f"{os.uname().nodename}:{found.st_dev}:{found.st_ino}:{found.st_uid}"
    return sha256(told.encode()).hexdigest()[:16]


class CodeFolders:
    """The code that is laid down on a node.

    Parameters
    ----------
    root
        Folder that is the node's alone; made when it is first needed.
    fetch
        Returns the content of a file by its SHA-256, from the registry.
    """

    def __init__(self, root: Path, fetch: Callable[[str], bytes]) -> None:
        self._root = root
        self._fetch = fetch

    def prepare(self, spec: ComponentSpec) -> ComponentSpec:
        """Return a component as it can run here; fetch its files, if they are not here.

        Raises
        ------
        ConfigError
            They cannot be had, or are not what they are said to be.
        OSError
            The registry is away, or there is no room: to be tried again.
        """
        if spec.code is None or self._is_in_place(spec):
            return spec
        folder = self._folder(spec.code)
        if not _holds(folder, spec.code):
            self._lay(folder, spec.code)
        return relocated(spec, str(folder), sys.executable)

    def find(self, spec: ComponentSpec) -> ComponentSpec:
        """Return a component as `prepare` would, without fetching anything."""
        if spec.code is None or self._is_in_place(spec):
            return spec
        return relocated(spec, str(self._folder(spec.code)), sys.executable)

    def is_laid(self, spec: ComponentSpec) -> bool:
        """Whether a component does not run where its files were found, but as they are fetched."""
        return spec.code is not None and not self._is_in_place(spec)

    def keep(self, codes: Collection[Code] = (), texts: Collection[str] = ()) -> None:
        """Remove what was laid down, but for these codes and what one of the texts names."""
        kept = {self._folder(code).name for code in codes}
        for folder in self._root.glob("*"):
            if folder.name not in kept and not any(str(folder) in text for text in texts):
                _remove(folder)

    def _is_in_place(self, spec: ComponentSpec) -> bool:
        """Whether the files are where they were found, by their folder or by their content."""
        code = spec.code
        if code is None or spec.copy:
            return code is None
        here = place_of(code.folder)
        return bool(here) and (here == code.place or _holds(Path(code.folder), code))

    def _folder(self, code: Code) -> Path:
        return self._root / sha256(identity_of(code)).hexdigest()[:32]

    def _lay(self, folder: Path, code: Code) -> None:
        for _, text, hint in code_flaws(code):  # whoever says so, nothing is written elsewhere
            raise ConfigError(text, key="code", hint=hint)
        private_folder(self._root, "PALM_STATE_DIR")
        temporary = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}")
        try:
            temporary.mkdir(mode=0o700)
            for path, file in code.files.items():
                _write(temporary / path, self._content(path, file), file)
            for inner in (temporary, *(p for p in temporary.rglob("*") if p.is_dir())):
                inner.chmod(0o500)
            if folder.exists():  # what is there was changed
                _remove(folder)
            temporary.chmod(0o700)  # to be renamed
            temporary.rename(folder)
            folder.chmod(0o500)
        finally:
            _remove(temporary)
        _log.info("laid down %d files in %s", len(code.files), folder)

    def _content(self, path: str, file: CodeFile) -> bytes:
        try:
            data = self._fetch(file.sha256)
        except Refused as error:
            raise ConfigError(f"its file {path} cannot be fetched: {error}") from error
        except RegistryError as error:
            raise OSError(f"{path} cannot be fetched: {error}") from error
        if sha256(data).hexdigest() != file.sha256:
            raise ConfigError(f"the registry gave another content of {path} than was asked for")
        return data


def _write(path: Path, data: bytes, file: CodeFile) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as target:
        target.write(data)
        os.fchmod(target.fileno(), 0o500 if file.executable else 0o400)


def _holds(folder: Path, code: Code) -> bool:
    """Whether all files are there with their content; others may be there, too."""
    return all(_is(folder / path, file) for path, file in code.files.items())


def _is(path: Path, file: CodeFile) -> bool:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.size:
            return False
        return sha256(path.read_bytes()).hexdigest() == file.sha256
    except OSError:
        return False


def _remove(folder: Path) -> None:
    """Remove a folder with all that is in it, also what may not be written to."""
    if not folder.exists():
        return
    with suppress(OSError):
        for inner in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
            inner.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
