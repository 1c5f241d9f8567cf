"""``python -m palm_registry``: run a registry until it is told to stop."""

from __future__ import annotations

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # loading makes no garbage, and looking for it takes a sixth of the time

from palm_registry.command import main

if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    sys.exit(main())
