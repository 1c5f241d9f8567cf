"""The text of ``palm --help``: commands in groups, and examples that can be typed."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from palm.cli.parser import Parser

__all__ = ["EXAMPLES", "GROUPS", "arrange"]

#: Commands in the order in which one comes to need them. What is in no group comes last.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "run": (
        "up", "down", "master", "worker", "server", "hub", "pipeline", "sink", "start", "job",
        "exec", "gateway",
    ),
    "look": ("status", "ps", "top", "logs", "events", "tap", "nodes", "ui"),
    "change": (
        "apply", "diff", "check", "history", "rollback", "scale", "restart", "signal", "stop",
        "jobs", "dead-letters",
    ),
    "administer": (
        "doctor", "gc", "registry", "runner", "token", "user", "keys", "import", "completion",
        "version",
    ),
}  # fmt: skip

#: What can be typed, by command; "" is palm itself.
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "": (
        "palm master --name foo -d",
        "palm worker words.py --master foo -d",
        "palm status",
        "palm logs foo -f",
        "palm down",
    ),
    "apply": ("palm apply cluster.toml", "palm apply cluster.toml --note 'more workers'"),
    "check": ("palm check cluster.toml && palm apply cluster.toml",),
    "completion": ("palm completion bash > ~/.local/share/bash-completion/completions/palm",),
    "dead-letters": ("palm dead-letters list", "palm dead-letters replay --all"),
    "diff": ("palm diff cluster.toml", "palm diff 3", "palm diff 2 3 -u"),
    "doctor": ("palm doctor", "palm doctor --json"),
    "down": ("palm down", "palm --cluster night down"),
    "events": ("palm events --since 1h", "palm events -f"),
    "exec": ("palm exec foo-worker -- python -i", "palm exec foo-worker -c 'cache.keys()'"),
    "gateway": ("palm gateway --server foo --port 8080",),
    "gc": ("palm gc --dry-run", "palm gc"),
    "history": ("palm history", "palm history 3 > cluster.toml"),
    "hub": ("palm hub --name sort --previous reader -d",),
    "import": ("palm import cluster.ini -o cluster.toml",),
    "job": (
        "palm job foo.count texts.csv --csv -o counts.csv",
        "ls *.txt | palm job foo.count --lines",
        "palm job foo.add --item '[1, 2]'",
    ),
    "jobs": ("palm jobs list", "palm jobs cancel 6f1c"),
    "keys": ("palm keys rotate", "palm keys rotate --overlap 0"),
    "logs": (
        "palm logs foo -n 20",
        "palm logs foo-worker -f",
        "palm logs --all --since 5m --grep 'Error|Warning'",
    ),
    "master": ("palm master --name foo", "palm master --name foo -d --durable"),
    "nodes": ("palm nodes",),
    "pipeline": ("palm pipeline words.py --name sieve --previous reader -d",),
    "ps": ("palm ps", "palm ps --json"),
    "registry": ("palm registry status", "palm registry --port 8786 --tls"),
    "restart": ("palm restart foo-worker",),
    "rollback": ("palm rollback --dry-run", "palm rollback"),
    "runner": ("palm runner --registry https://head:8786/ --cluster night --config node.toml",),
    "scale": ("palm scale foo-worker 4",),
    "server": ("palm server words.py --name reader -d",),
    "signal": ("palm signal foo-worker HUP",),
    "sink": ("palm sink words.py --name counter --previous sieve,reader -d",),
    "start": ("palm start foo-worker",),
    "status": ("palm status", "palm status --json"),
    "stop": ("palm stop foo-worker", "palm stop --all"),
    "tap": ("palm tap foo -n 10",),
    "token": ("palm token add grafana --scope viewer --expires 30d", "palm token list"),
    "top": ("palm top", "palm top --functions --sort cpu -n 1"),
    "ui": ("palm ui",),
    "up": (
        "palm up",
        "palm up cluster.toml",
        "palm up --linger 2h",
        "palm up cluster.toml --install --now",
    ),
    "user": ("palm user add ann", "palm user list"),
    "version": ("palm version", "palm version --json"),
    "worker": (
        "palm worker words.py --master foo",
        "palm worker words.py:Counter --master foo --name counters -d",
    ),
}


def arrange(parser: Parser, commands: argparse._SubParsersAction[Parser]) -> None:
    """Put the commands of a tree into groups, and give each its examples."""
    for name, command in commands.choices.items():
        _explain(command, EXAMPLES.get(name, ()))
    _explain(parser, EXAMPLES[""])
    parser.epilog = f"{parser.epilog}\n\npalm COMMAND --help explains a command."
    summaries = {
        action.dest: action.help or "" for action in commands._choices_actions if action.help
    }
    parser.commands = _sections(summaries)


def _explain(parser: argparse.ArgumentParser, examples: Iterable[str]) -> None:
    lines = [f"  {example}" for example in examples]
    if lines and not parser.epilog:
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = "\n".join(["examples:", *lines])


def _sections(summaries: Mapping[str, str]) -> list[tuple[str, list[tuple[str, str]]]]:
    grouped = {name for names in GROUPS.values() for name in names}
    groups = {**GROUPS, "more": tuple(name for name in summaries if name not in grouped)}
    found = [
        (title, [(name, summaries[name]) for name in names if name in summaries])
        for title, names in groups.items()
    ]
    return [(title, entries) for title, entries in found if entries]
