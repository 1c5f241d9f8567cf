"""palm in notebooks: ``%load_ext palm_jupyter`` gives ``%palm`` and ``%%palm_worker``.

Importing this package registers nothing and loads nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load_ipython_extension", "unload_ipython_extension"]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics, their completion and the display of components. Idempotent."""
    from palm_jupyter.magics import load  # loads IPython

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove all that was added; the cluster goes on for as long as it lingers."""
    from palm_jupyter.magics import unload

    unload(shell)
