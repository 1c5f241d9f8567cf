"""Names of components: what they may look like, and which one was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from palm.errors import ConfigError

__all__ = ["check_labels", "check_name", "nearest"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LABEL = re.compile(r"[A-Za-z0-9._/-]{1,64}")
#: Labels of one node, or of one component.
_MAX_LABELS = 64

#: Similarity, 0 to 1, above which a known name is offered in place of an unknown one.
_CUTOFF = 0.6


def check_name(name: str) -> str:
    """Return `name` if a component may be called so.

    Names become parts of file names and of addresses, hence the narrow alphabet.

    Raises
    ------
    ConfigError
        With the rule as its hint.
    """
    if _NAME.fullmatch(name):
        return name
    raise ConfigError(
        f"{name!r} cannot be the name of a component",
        hint="a name has 1 to 64 letters (a-z, A-Z), digits, '-' or '_'",
    )


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that a node or a component cannot have.

    Raises
    ------
    ConfigError
        With the rule as its hint.
    """
    if len(labels) > _MAX_LABELS:
        raise ConfigError(f"{len(labels)} labels", hint=f"at most {_MAX_LABELS}")
    for text in (text for label in labels.items() for text in label):
        if not _LABEL.fullmatch(text):
            raise ConfigError(
                f"{text!r} cannot be a label, or the value of one",
                hint="1 to 64 letters (a-z, A-Z), digits, '.', '/', '-' or '_'",
            )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that is most like `name`, or None if none is like it."""
    # Needed on the way to an error only, and a third of this package's import time.
    from difflib import get_close_matches

    matches = get_close_matches(name, sorted(set(known)), n=1, cutoff=_CUTOFF)
    return matches[0] if matches else None
