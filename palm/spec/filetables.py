"""The tables and keys of a cluster file, what each is for, and a JSON schema of them for editors.

The schema is a help while one types: it takes all that `palm.spec.cluster` takes. What only the
file as a whole can show - names that are not there, rings - is left to that.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from palm.spec.component import MAX_REPLICAS, Role
from palm.spec.process import Restart
from palm.spec.rollout import Rollout
from palm.spec.spool import SPOOL_POLICIES, SpoolPolicy, SpoolTable

__all__ = [
    "ClusterTable",
    "ComponentTable",
    "FileTable",
    "LimitsTable",
    "example_of",
    "file_schema",
]

_NAME = "^[A-Za-z0-9_-]{1,64}$"
_PLACEHOLDERS = (
    "A whole argument may be ${socket:COMPONENT.PORT}, ${name}, ${replica} or ${node};"
    " $${ stands for a plain ${."
)
_TIME = {"minimum": 0, "maximum": 86400}
_READY = r"^(palm|tcp:\d{1,5}|http:https?://\S+|log:.+|delay:\d+(\.\d+)?)$"
_SIZE = r"^(\d+(\.\d+)?\s*[KMGTkmgt]?([iI]?[bB])?|none)$"
_DURATION = r"^(\d+(\.\d+)?|(\d+(\.\d+)?[dhms])+|forever)$"
#: Keys of which a component gives exactly one.
_WAYS = ("script", "module", "entry", "command")


def _key(description: str, example: Any, **schema: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, examples=[example], extra_json_schema=schema)


class ClusterTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The cluster as a whole."""

    name: Annotated[
        str,
        _key("Name of the cluster; --cluster and PALM_CLUSTER beat it.", "demo", pattern=_NAME),
    ] = "default"


class LimitsTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What one replica may use; what is left out has no limit but that of its node."""

    memory: Annotated[
        int | str | None,
        _key("Memory that it holds, with all that it started: beyond it, it is ended.", "2G",
             pattern=_SIZE),
    ] = None  # fmt: skip
    processes: Annotated[
        int | None,
        _key("Processes, itself and all that it started: beyond it, it is ended.", 64, minimum=1),
    ] = None
    cpu_time: Annotated[
        int | str | None,
        _key("Time of processors, of each process; then it gets SIGXCPU.", "1h",
             pattern=_DURATION),
    ] = None  # fmt: skip
    open_files: Annotated[
        int | None, _key("Open files and sockets, of each process.", 1024, minimum=16)
    ] = None
    file_size: Annotated[
        int | str | None,
        _key("Of any file that it writes, its output too.", "10G", pattern=_SIZE),
    ] = None
    core_size: Annotated[
        int | str | None, _key("Of what a crash leaves to be examined.", 0, pattern=_SIZE)
    ] = None


class ComponentTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A component: what is started, how often, and when. It gives one of script, module, entry
    and command.
    """

    role: Annotated[
        Role, _key("What it is; process is anything that palm knows nothing of.", "worker")
    ] = "process"
    script: Annotated[
        str,
        _key("A Python file; a relative path begins at the folder of this file.", "worker.py",
             minLength=1),
    ] = ""  # fmt: skip
    module: Annotated[
        str, _key("What python -m runs.", "pkg.mod", pattern=r"^[^\s:/\\]+$")
    ] = ""  # fmt: skip
    entry: Annotated[
        str, _key("A function, which is called without arguments.", "pkg.mod:main",
                  pattern=r"^[^\s:]+:[^\s:]+$"),
    ] = ""  # fmt: skip
    command: Annotated[
        list[str],
        _key(f"Any program, found on the PATH, and its arguments. {_PLACEHOLDERS}",
             ["python3", "-m", "http.server"], minItems=1),
    ] = []  # fmt: skip
    args: Annotated[
        list[str],
        _key(f"Arguments, added to what is started. {_PLACEHOLDERS}", ["--name", "${name}"]),
    ] = []
    replicas: Annotated[
        int | str,
        _key("How many processes; of a worker or a process more than one. Of a worker also a range,"
             ' "2..16": as many as its load takes.', 2, minimum=0, maximum=MAX_REPLICAS,
             pattern=r"^\s*\d{1,6}\s*\.\.\s*\d{1,6}\s*$"),
    ] = 1  # fmt: skip
    needs: Annotated[
        list[str], _key("Components that must be ready before the first start.", ["foo"])
    ] = []
    previous: Annotated[
        str | list[str],
        _key("Whose results it takes: NAME or NAME/TOPIC, one or several. Of a hub, a pipeline or"
             " a sink.", "foo"),
    ] = []  # fmt: skip
    pipelined: Annotated[
        bool, _key("Results go to the components behind it, not to the client.", True)
    ] = False
    env: Annotated[
        dict[str, str],
        _key("Variables, added to the environment of the runner.", {"OMP_NUM_THREADS": "1"},
             propertyNames={"pattern": "^[^=\\u0000]+$"}),
    ] = {}  # fmt: skip
    cwd: Annotated[
        str, _key("Where it runs; a relative path begins at the folder of this file.", "data")
    ] = ""
    python: Annotated[
        str, _key("The interpreter; that of the runner if left out.", "/usr/bin/python3")
    ] = ""
    kernel: Annotated[
        bool, _key('Run it as an IPython kernel: a script, or module = "palm".', True)
    ] = False
    restart: Annotated[
        Restart,
        _key("When it is started again: on-failure is an exit code other than 0, or a signal.",
             "always"),
    ] = "on-failure"  # fmt: skip
    grace: Annotated[
        float, _key("Seconds from SIGTERM to SIGKILL when it is stopped.", 10.0, **_TIME)
    ] = 5.0
    ready_timeout: Annotated[
        float, _key("Seconds in which it must be ready, else it is started anew.", 60.0, **_TIME)
    ] = 30.0
    ready: Annotated[
        str,
        _key('When it counts as ready: "palm" (it says so itself; not of a process), "tcp:PORT",'
             ' "http:URL", "log:RE" or "delay:SECONDS".', "tcp:8000", pattern=_READY),
    ] = ""  # fmt: skip
    rollout: Annotated[
        Rollout,
        _key("How another version takes the place of what runs: rolling, a few replicas at a time"
             " and the next when those are ready, or at-once.", "at-once"),
    ] = "rolling"  # fmt: skip
    limits: Annotated[
        LimitsTable, _key("What each replica may use.", {"memory": "2G", "open_files": 1024})
    ] = msgspec.field(default_factory=LimitsTable)
    labels: Annotated[
        dict[str, str],
        _key("Labels that a node must have to run it.", {"gpu": "yes"}),
    ] = {}
    node: Annotated[
        str, _key("The node that it runs on, and no other.", "north", pattern=_NAME)
    ] = ""
    files: Annotated[
        list[str],
        _key("Files that it needs beside its script, on whichever node it runs: paths, folders or"
             " patterns below the folder of this file.", ["lib/**/*.py", "data.csv"]),
    ] = []  # fmt: skip
    copy: Annotated[
        bool, _key("Run from a copy also where the files are: what is in force, not what is"
                   " being edited.", True),
    ] = False  # fmt: skip
    spool: Annotated[
        SpoolPolicy | SpoolTable,
        _key(
            "When a process has more output than its quota (1G) that the registry does not have"
            " yet: block suspends it, drop-oldest drops the oldest of it. A table says both.",
            {"policy": "drop-oldest", "quota": "500M"},
        ),
    ] = "block"


class FileTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A cluster file."""

    cluster: ClusterTable = msgspec.field(default_factory=ClusterTable)
    components: dict[str, ComponentTable] = {}


def file_schema() -> dict[str, Any]:
    """Return the JSON schema of a cluster file (draft 7, which editors of TOML know)."""
    _, parts = msgspec.json.schema_components([FileTable])
    names = ("ClusterTable", "ComponentTable", "LimitsTable")
    cluster, component, limits = (_table(parts[name]) for name in names)
    component["oneOf"] = [{"required": [way]} for way in _WAYS]
    shown = component["properties"]["limits"]
    component["properties"]["limits"] = limits | {
        key: shown[key] for key in ("description", "examples") if key in shown
    }
    component["properties"]["spool"]["anyOf"] = [
        {"type": "string", "enum": list(SPOOL_POLICIES)},
        _table(parts["SpoolTable"]),
    ]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "cluster.json",
        "title": "palm: cluster file",
        "description": "The components of a cluster.",
        "type": "object",
        "properties": {
            "cluster": cluster,
            "components": {
                "description": "The components by name, each as [components.NAME].",
                "type": "object",
                "propertyNames": {"pattern": _NAME},
                "additionalProperties": component,
            },
        },
        "additionalProperties": False,
    }


def example_of(key: str) -> str:
    """Return how a key of a component is written, or "" if there is no such key."""
    _, parts = msgspec.json.schema_components([ComponentTable])
    found = parts["ComponentTable"]["properties"].get(key)
    if found is None:
        return ""
    value = msgspec.json.encode(found["examples"][0]).decode()
    return f"{key} = {value.replace(':', ' = ') if value.startswith('{') else value}"


def _table(schema: dict[str, Any]) -> dict[str, Any]:
    for field in schema["properties"].values():
        if "enum" in field:
            field["type"] = "string"
        # What is left out is nothing that can be written.
        if field.get("default", 0) in ("", [], {}, None):
            del field["default"]
        if "anyOf" in field:  # nothing that can be written is null
            field["anyOf"] = [kind for kind in field["anyOf"] if kind != {"type": "null"}]
    schema["title"] = schema["title"].removesuffix("Table").lower()
    schema["description"] = " ".join(schema["description"].split())
    return schema
