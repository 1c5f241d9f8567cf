"""Make the virtual environment in which palm is developed, tested and shown.

``python3 tools/setup_env.py VENV EXTRA`` creates VENV where it is missing and installs this
checkout with one of its extras. It needs nothing but the standard library, and says in one
sentence what is missing and which command helps. It runs, as far as that sentence, on any
Python 3, so its syntax is older than the rest of the project.

A stamp inside the environment says what was installed; while it is true, nothing is done.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST = (3, 11)
#: Extra -> the extras with which it is there.
INCLUDED_IN = {"dev": ("dev",), "lab": ("lab", "dev")}
#: Arguments of subprocess.run that keep the output, both streams in order.
CAPTURED: "dict[str, Any]" = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.STDOUT,
    "universal_newlines": True,
}
#: What pip says when it could not ask an index, against what it says of a version nobody has.
NO_INDEX = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "NameResolutionError",
    "ProxyError",
    "SSLError",
    "connection broken",
    "from versions: none",
)


class SetupError(Exception):
    """A sentence for the person at the terminal, with the command that helps."""

    def __init__(self, sentence: str, command: str) -> None:
        super().__init__(f"{sentence}\n    {command}")


def check_python() -> None:
    """Refuse a Python that palm cannot run on."""
    if sys.version_info >= OLDEST:
        return
    oldest = ".".join(map(str, OLDEST))
    sentence = f"palm needs Python {oldest} or later and {sys.executable} is older"
    for name in [f"python3.{minor}" for minor in range(OLDEST[1], OLDEST[1] + 6)] + ["python3"]:
        if is_new_enough(name):
            raise SetupError(f"{sentence}, but there is one:", f"make PYTHON={name} {goal()}")
    python = f"python{oldest}"
    raise SetupError(
        f"{sentence}; install one, for example on Debian and Ubuntu:",
        f"sudo apt-get install {python} {python}-venv && make PYTHON={python} {goal()}",
    )


def is_new_enough(python: str) -> bool:
    """Whether a command is a Python that palm can run on."""
    if shutil.which(python) is None:
        return False
    probe = f"import sys; sys.exit(sys.version_info < {OLDEST!r})"
    return subprocess.run([python, "-c", probe], **CAPTURED).returncode == 0


def goal() -> str:
    """The target that the user asked make for."""
    return os.environ.get("PALM_MAKE_GOAL") or "demo"


def check_venv_module() -> None:
    """Refuse a Python from which the distribution removed the module venv or its pip."""
    try:
        import ensurepip  # noqa: F401 - only whether it is there
        import venv  # noqa: F401
    except ImportError:
        python = "python{}.{}".format(*sys.version_info)
        raise SetupError(
            "This Python has no module venv with which to make a virtual environment; "
            "on Debian and Ubuntu it comes with:",
            f"sudo apt-get install {python}-venv",
        ) from None


def venv_python(venv: str) -> str:
    """Where the environment's interpreter is."""
    return os.path.join(venv, "bin", "python")


def make_venv(venv: str) -> None:
    """Create the environment, or renew one whose interpreter is gone."""
    if works(venv):
        return
    check_venv_module()
    if os.path.isdir(venv) and os.listdir(venv) and not is_venv(venv):
        raise SetupError(
            f"{venv} is a folder with something else in it; name another one:",
            f"make VENV=.venv-palm {goal()}",
        )
    say(f"making the virtual environment {venv}")
    done = subprocess.run([sys.executable, "-m", "venv", "--clear", venv], **CAPTURED)
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        raise SetupError(
            "The virtual environment could not be made; name another folder:",
            f"make VENV=.venv-palm {goal()}",
        )


def is_venv(venv: str) -> bool:
    """Whether the folder was made by the module venv or its like."""
    return os.path.exists(os.path.join(venv, "pyvenv.cfg"))


def works(venv: str) -> bool:
    """Whether the environment has an interpreter, new enough, and pip."""
    if not is_venv(venv) or not os.path.exists(venv_python(venv)):
        return False
    return is_new_enough(venv_python(venv)) and has_pip(venv)


def has_pip(venv: str) -> bool:
    """Whether the environment can install into itself."""
    return subprocess.run([venv_python(venv), "-c", "import pip"], **CAPTURED).returncode == 0


def stamp_of(extra: str) -> str:
    """Say what an environment is made from: the project's files, its place, the extra."""
    digest = hashlib.sha256(ROOT.encode())
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return f"{digest.hexdigest()} {extra}"


def stamp_path(venv: str) -> str:
    """Where the environment says what is in it."""
    return os.path.join(venv, "palm-setup.txt")


def is_current(venv: str, extra: str) -> bool:
    """Whether the stamp says that this checkout is installed with the extra."""
    try:
        with open(stamp_path(venv)) as file:
            stamp = file.read()
    except OSError:
        return False
    return stamp in {stamp_of(other) for other in INCLUDED_IN[extra]}


def install(venv: str, extra: str) -> None:
    """Install this checkout, editable, and stamp the environment.

    pip reads its own configuration - environment, pip.conf - as it always does.
    """
    log = os.path.join(venv, "palm-setup.log")
    command = [venv_python(venv), "-m", "pip", "install", "--quiet", "--no-input"]
    command += ["-c", os.path.join(ROOT, "constraints.txt"), "-e", f"{ROOT}[{extra}]"]
    with Progress(f"installing palm[{extra}] and what it needs into {venv}"), open(log, "w") as out:
        code = subprocess.call(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
    if code != 0:
        raise install_error(log)
    with open(stamp_path(venv), "w") as file:
        file.write(stamp_of(extra))


def install_error(log: str) -> SetupError:
    """Say why pip failed: no index, or its own words."""
    with open(log, errors="replace") as file:
        text = file.read()
    if any(sign in text for sign in NO_INDEX):
        return SetupError(
            f"No package index can be reached (details: {log}); go online or name another:",
            f"PIP_INDEX_URL=https://HOST/simple make {goal()}",
        )
    errors = [line for line in text.splitlines() if line.startswith(("ERROR", "error"))]
    sys.stderr.write("\n".join((errors or text.splitlines())[-10:]) + "\n")
    return SetupError(
        f"pip could not install palm; its whole output is in {log}; try again with:",
        f"make {goal()}",
    )


class Progress:
    """A line that counts the seconds of a long step; one plain line where nobody watches."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.started = time.monotonic()
        self.ended = threading.Event()
        self.ticker = threading.Thread(target=self.tick, daemon=True)

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            self.ticker.start()
        else:
            say(f"{self.text} ...")
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        if self.ticker.ident is not None:
            self.ticker.join()
            sys.stdout.write("\n")

    def tick(self) -> None:
        """Rewrite the line twice a second until the step has ended."""
        while True:
            seconds = int(time.monotonic() - self.started)
            sys.stdout.write(f"\r{self.text} ... {seconds} s")
            sys.stdout.flush()
            if self.ended.wait(0.5):
                return


def say(text: str) -> None:
    """Write one line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Bring the environment up to date; 0 when it is, 1 with a sentence when it cannot be."""
    venv, extra = sys.argv[1:]
    try:
        check_python()
        make_venv(venv)
        if not is_current(venv, extra):
            install(venv, extra)
    except SetupError as error:
        sys.stderr.write(str(error) + "\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
