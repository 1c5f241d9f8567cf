"""Snapshots as HTML that needs nothing else, and as text. Everything from outside is escaped.

The HTML is what a saved notebook shows where the live panel cannot run: on GitHub, in nbconvert's
output, in a notebook that is opened later. It uses inline styles, and colours that are readable on
light and dark.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from palm.spec.text import printable

__all__ = [
    "card_html",
    "job_html",
    "job_text",
    "last_lines_html",
    "panel_html",
    "panel_text",
    "summary",
    "uptime",
    "why",
]

Snapshot = Mapping[str, Any]

#: Middle tones: at least 3:1 against white and against JupyterLab's dark grey.
_COLOURS = {
    "ready": "#2a9d4e",
    "starting": "#3b82c4",
    "backing-off": "#b7791f",
    "stopping": "#808891",
    "stopped": "#808891",
    "failed": "#d9484a",
}
_SHAPES = {"stopped": "○", "failed": "✕", "starting": "◌", "stopping": "◌"}
_JOB_STATES = {
    "running": "starting",
    "paused": "backing-off",
    "done": "ready",
    "cancelled": "stopped",
    "failed": "failed",
}
_LINE = "border-bottom:1px solid rgba(128,128,128,.25)"
_FONT = "font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:13px;line-height:1.5"
_MUTED = "opacity:.7"
_COLUMNS = ("Name", "Role", "State", "PID", "Restarts", "Uptime", "Functions")
_NUMBERS = ("PID", "Restarts", "Uptime")
_OUTPUT_LINES = 12
#: In a notebook that is opened again JupyterLab has "model not found" in the live panel's place;
#: that box has no elements in it, unlike every widget but buttons.
_HIDE_ERROR = (
    "<style>.jp-OutputArea:has(.palm-snapshot) "
    ".jupyter-widgets:not(button):not(:has(*)){display:none}</style>"
)
#: A live one of plain HTML stands in the place of its snapshot.
_HIDE_STILL = (
    "<style>.jp-OutputArea:has(.palm-live) .jp-OutputArea-child:has(.palm-snapshot)"
    "{display:none}</style>"
)
#: Ends that need no explanation.
_PLAIN = ("was stopped", "ended with exit code 0")
_NONE = "\u2013"  # an en dash


def summary(snapshot: Snapshot) -> str:
    """How the cluster is, in a few words."""
    components = snapshot["components"]
    own = [component for component in components if component["own"]]
    missing = sum(max(0, c["desired"] - c["ready"]) for c in own)
    wanted = sum(c["desired"] for c in own)
    if not components:
        return "no components"
    if missing:
        return f"{wanted - missing} of {wanted} processes ready"
    if wanted:
        return f"ready, {wanted} {'process' if wanted == 1 else 'processes'}"
    return "stopped" if own else "nothing started here"


def uptime(seconds: float) -> str:
    """A duration as a person reads it: ``0:07``, ``12:40``, ``3:05:00``, ``2 d 4 h``."""
    whole = max(0, int(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def panel_html(snapshot: Snapshot, *, live: bool = False) -> str:
    """The whole panel, as of the snapshot's time; or ``live``, to be drawn again and again."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot["time"]))
    head = (
        f'<div style="padding:2px 0 8px"><strong>Cluster {escape(snapshot["cluster"])}</strong>'
        f' &nbsp;{escape(summary(snapshot))} &nbsp;<span style="{_MUTED}">'
        f"{_liveness(snapshot) if live else f'as of {when}'}</span></div>"
    )
    body = _table(snapshot) if snapshot["components"] else _empty()
    kind, style = ("palm-live", _HIDE_STILL) if live else ("palm-snapshot", _HIDE_ERROR)
    inner = f"{head}{body}{_outputs(snapshot)}{style}"
    return f'<div class="{kind}" style="{_FONT};max-width:72em">{inner}</div>'


def _liveness(snapshot: Snapshot) -> str:
    since = snapshot.get("away")
    if not since:
        return "live"
    when = time.strftime("%H:%M:%S", time.localtime(since))
    return f"the registry does not answer since {when}; what runs goes on"


def card_html(state: str, text: str, detail: str = "") -> str:
    """One line: a dot, what happened, and something muted."""
    more = f' &nbsp;<span style="{_MUTED}">{escape(detail)}</span>' if detail else ""
    return f'<div style="{_FONT}">{_dot(state)}&nbsp; {escape(text)}{more}</div>'


def last_lines_html(lines: Sequence[str]) -> str:
    """Lines of output."""
    text = "\n".join(escape(printable(line)) for line in lines)
    style = "margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px;line-height:1.5"
    return f'<pre style="{style}">{text}</pre>'


def job_text(job: Snapshot) -> str:
    """A job as one line."""
    total = "" if job["total"] is None else f"/{job['total']:,}"
    failed = f", {job['failed']:,} failed" if job["failed"] else ""
    text = f"job {job['function']}: {job['state']}, {job['done']:,}{total} done{failed}"
    return f"{text}, {job['rate']:,.0f}/s"


def job_html(job: Snapshot, *, live: bool = False) -> str:
    """A job as of the time that it says; or ``live``, to be drawn again and again."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job["time"]))
    state = _JOB_STATES.get(job["state"], "starting")
    if job["state"] == "done" and job["failed"]:
        state = "backing-off"
    total = job["total"]
    done = f"{job['done']:,}" if total is None else f"{job['done']:,} of {total:,}"
    retried = f", {job['retried']:,} retried" if job["retried"] else ""
    facts = f"{done} done, {job['failed']:,} failed{retried}, {job['rate']:,.0f}/s"
    head = (
        f"<strong>Job {escape(job['function'])}</strong> &nbsp;{_dot(state)}&nbsp; "
        f'{escape(job["state"])} &nbsp;{facts} &nbsp;<span style="{_MUTED}">as of {when}</span>'
    )
    error = f'<div style="color:{_COLOURS["failed"]}">{escape(job["error"])}</div>'
    kind, style = ("palm-live", _HIDE_STILL) if live else ("palm-snapshot", _HIDE_ERROR)
    more = f"{error if job['error'] else ''}{style}"
    return f'<div class="{kind}" style="{_FONT}">{head}{_bar(job)}{more}</div>'


def _bar(job: Snapshot) -> str:
    if not job["total"]:
        return ""
    share = min(1.0, job["done"] / job["total"])
    return (
        '<div style="max-width:36em;height:4px;margin-top:4px;background:rgba(128,128,128,.25)">'
        f'<div style="width:{100 * share:.1f}%;height:4px;background:{_COLOURS["ready"]}"></div>'
        "</div>"
    )


def panel_text(snapshot: Snapshot) -> str:
    """The panel as aligned text."""
    head = f"cluster {snapshot['cluster']}: {summary(snapshot)}"
    rows = [tuple(title.lower() for title in _COLUMNS), *_rows(snapshot)]
    if len(rows) == 1:
        return head
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    right = {_COLUMNS.index(title) for title in _NUMBERS}
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([head, *(f"  {line.rstrip()}" for line in lines)])


def _rows(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """The table's cells as text, one row a process."""
    rows: list[tuple[str, ...]] = []
    for component in snapshot["components"]:
        functions = ", ".join(component["functions"])
        for process in component["processes"]:
            rows.append(
                (
                    process["name"],
                    component["role"],
                    _state(component, process),
                    str(process["pid"] or _NONE),
                    str(process["restarts"]),
                    _up(process, snapshot["time"]),
                    functions or _NONE,
                )
            )
    return rows


def _state(component: Mapping[str, Any], process: Mapping[str, Any]) -> str:
    words = str(process["state"]).replace("-", " ")
    return words if component["own"] else f"{words}, elsewhere"


def _up(process: Mapping[str, Any], now: float) -> str:
    return uptime(now - process["started"]) if process["started"] is not None else _NONE


def _table(snapshot: Snapshot) -> str:
    head = "".join(_cell("th", title, title in _NUMBERS) for title in _COLUMNS)
    states = [p["state"] for c in snapshot["components"] for p in c["processes"]]
    reasons = [p["reason"] for c in snapshot["components"] for p in c["processes"]]
    body = "".join(
        f"<tr>{_row(row, state)}</tr>{_why(state, reason)}"
        for row, state, reason in zip(_rows(snapshot), states, reasons, strict=True)
    )
    style = (
        "border-collapse:collapse;table-layout:auto;width:100%;margin:0;"
        "font-variant-numeric:tabular-nums;text-align:left"
    )
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _row(row: Sequence[str], state: str) -> str:
    cells = []
    for title, text in zip(_COLUMNS, row, strict=True):
        before = f"{_dot(state)}&nbsp; " if title == "State" else ""
        cells.append(_cell("td", text, title in _NUMBERS, before))
    return "".join(cells)


def _cell(tag: str, text: str, number: bool, before: str = "") -> str:
    align = "right" if number else "left"
    weight = f"font-weight:600;{_MUTED};" if tag == "th" else ""
    style = f"{weight}text-align:{align};padding:4px 18px 4px 0;vertical-align:top;{_LINE}"
    scope = ' scope="col"' if tag == "th" else ""
    return f'<{tag}{scope} style="{style}">{before}{escape(text)}</{tag}>'


def why(state: str, reason: str) -> str:
    """The reason for a state, where it is not plain."""
    if state in ("failed", "backing-off"):
        return reason
    return reason if state == "stopped" and reason not in _PLAIN else ""


def _why(state: str, reason: str) -> str:
    if not why(state, reason):
        return ""
    style = f"text-align:left;padding:2px 0 6px 18px;{_MUTED};{_LINE}"
    return f'<tr><td colspan="{len(_COLUMNS)}" style="{style}">it {escape(reason)}</td></tr>'


def _dot(state: str) -> str:
    colour = _COLOURS.get(state, "#808891")
    return f'<span aria-hidden="true" style="color:{colour}">{_SHAPES.get(state, "●")}</span>'


def _empty() -> str:
    return (
        f'<div style="{_MUTED}">Nothing runs yet. Start a master: '
        "<code>%palm master --name foo</code></div>"
    )


def _outputs(snapshot: Snapshot) -> str:
    parts = []
    for process, lines in snapshot["output"].items():
        text = "\n".join(escape(text) for _, text in lines[-_OUTPUT_LINES:])
        style = (
            "margin:4px 0 8px;padding:8px 10px;border:1px solid rgba(128,128,128,.25);"
            "border-radius:4px;white-space:pre-wrap;overflow-wrap:anywhere;font-size:12px"
        )
        parts.append(
            f'<details style="padding-top:6px"><summary style="cursor:pointer">Output of '
            f'{escape(process)}</summary><pre style="{style}">{text}</pre></details>'
        )
    return "".join(parts)
