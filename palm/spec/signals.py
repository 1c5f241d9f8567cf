"""Names of signals as people write them. Pure: which number each has is the system's affair."""

from __future__ import annotations

from palm.errors import ConfigError
from palm.spec.names import nearest

__all__ = ["SIGNALS", "parse_signal"]

#: Those of POSIX that a program may be sent on purpose.
SIGNALS: tuple[str, ...] = tuple(
    f"SIG{name}"
    for name in (
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
        "PIPE", "ALRM", "TERM", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU",
        "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "SYS",
    )
)  # fmt: skip
#: Those that a hint names, if no name is near.
_USUAL = "HUP, INT, QUIT, USR1, USR2, TERM, KILL, STOP, CONT"


def parse_signal(text: str) -> str:
    """Return the whole name of a signal: "SIGHUP" for "HUP", "hup" and "SIGHUP".

    Raises
    ------
    ConfigError
        There is no such signal, with the nearest.
    """
    name = text.strip().upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in SIGNALS:
        return name
    close = nearest(name.removeprefix("SIG"), [each.removeprefix("SIG") for each in SIGNALS])
    hint = f"did you mean {close}?" if close else f"as {_USUAL}"
    raise ConfigError(f"there is no signal {text!r}", key="signal", hint=hint)
