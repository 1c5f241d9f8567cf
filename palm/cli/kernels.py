"""Code in the kernel of a component, and what it prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palm.cli.failures import FAILED, NOT_READY, OK, CommandFailed
from palm.spec.text import printable

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

__all__ = ["run_code"]

#: Seconds for a kernel to answer at all; one that runs another cell answers when that is over.
_ANSWER = 10.0
#: Seconds between two looks whether the kernel is still there.
_LOOK = 1.0


def run_code(connection: Path, name: str, code: str, *, as_json: bool = False) -> int:
    """Run code in a kernel; print what it prints, and its result; 1 if it raises.

    An interrupt leaves the code running: it shares a process with the component.
    """
    client = _connect(connection, name)
    try:
        message = client.execute(code, allow_stdin=False, store_history=False)
        shown = _Shown(as_json=as_json)
        while not shown.idle:
            _take(client, message, shown, name)
        return shown.finish()
    except KeyboardInterrupt:
        print(f"palm: {name} goes on with it", file=sys.stderr)
        raise
    finally:
        client.stop_channels()


def _connect(connection: Path, name: str) -> BlockingKernelClient:
    try:
        from jupyter_client.blocking.client import BlockingKernelClient  # few have kernels
    except ImportError as error:
        text = "jupyter_client is not installed here (pip install jupyter_client)"
        raise CommandFailed(text, FAILED) from error
    client = BlockingKernelClient(connection_file=str(connection))
    try:
        client.load_connection_file()
    except OSError as error:
        raise CommandFailed(f"the kernel of {name} is gone: {error.strerror}", FAILED) from error
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_ANSWER)
    except RuntimeError as error:
        client.stop_channels()
        text = f"the kernel of {name} does not answer within {_ANSWER:g} s: it may be busy"
        raise CommandFailed(text, NOT_READY) from error
    return client


def _take(client: BlockingKernelClient, message: str, shown: _Shown, name: str) -> None:
    from queue import Empty

    try:
        found = client.get_iopub_msg(timeout=_LOOK)
    except Empty:
        if not client.is_alive():
            raise CommandFailed(f"the kernel of {name} has ended", FAILED) from None
        return
    # Others may use the kernel at the same time.
    if found["parent_header"].get("msg_id") == message:
        shown.take(found["msg_type"], found["content"])


class _Shown:
    """What code printed and returned, shown as it comes, or kept for JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self.idle = False
        self._as_json = as_json
        self._result: str | None = None
        self._error = ""
        self._texts = {"stdout": "", "stderr": ""}

    def take(self, kind: str, content: dict[str, Any]) -> None:
        match kind:
            case "stream":
                self._print(content["text"], content["name"])
            case "execute_result" | "display_data":
                text = content["data"].get("text/plain", "")
                self._result = text if kind == "execute_result" else self._result
                self._print(f"{text}\n", "stdout", keep=kind != "execute_result")
            case "error":
                self._error = printable("\n".join(content["traceback"]))
                self._print(f"{self._error}\n", "stderr", keep=False)
            case "status":
                self.idle = content["execution_state"] == "idle"

    def _print(self, text: str, stream: str, *, keep: bool = True) -> None:
        if self._as_json:
            self._texts[stream] += text if keep else ""
        else:
            print(text, end="", file=getattr(sys, stream), flush=True)

    def finish(self) -> int:
        if self._as_json:
            error = self._error or None
            print(json.dumps({**self._texts, "result": self._result, "error": error}))
        return FAILED if self._error else OK
