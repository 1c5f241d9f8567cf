"""A real sshd on a loopback port, with keys and a configuration of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path

SSHD = "/usr/sbin/sshd"


class Sshd:
    """``home`` is private; who logs in has the folders ``far/run`` and ``far/state`` in it."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.folder = home / "ssh"
        self.folder.mkdir(mode=0o700)
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.host_key = self._key("host")
        self.other_host_key = self._key("host-rsa", "rsa")
        self.identity = self._key("identity")
        shutil.copy(f"{self.identity}.pub", self.folder / "authorized")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        far = {"PALM_RUN_DIR": f"{home}/far/run", "PALM_STATE_DIR": f"{home}/far/state"}
        told = " ".join(f'"{key}={value}"' for key, value in {**environment, **far}.items())
        (self.folder / "config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\n"
            f"HostKey {self.host_key}\nHostKey {self.other_host_key}\n"
            f"AuthorizedKeysFile {self.folder}/authorized\n"
            f"PidFile {self.folder}/pid\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            "KbdInteractiveAuthentication no\n"
            f"SetEnv {told}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def known_hosts(self) -> Path:
        """A file in which its key is."""
        path = self.folder / "known_hosts"
        key = Path(f"{self.host_key}.pub").read_text()
        path.write_text(f"[127.0.0.1]:{self.port} {key}")
        return path

    @property
    def host(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def fingerprint(self) -> str:
        """That of the key which ``ssh`` would show."""
        command = ["ssh-keygen", "-lf", f"{self.host_key}.pub"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]

    def _key(self, name: str, kind: str = "ed25519") -> Path:
        path = self.folder / name
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)]
        subprocess.run(command, check=True)
        return path

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", str(self.folder / "config")]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, env={"PATH": os.environ["PATH"]})
        end = time.monotonic() + 10
        while True:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.port)) == 0:
                    return

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
