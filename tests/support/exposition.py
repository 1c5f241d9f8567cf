"""The text format of Prometheus, read strictly: anything that it does not allow is an error."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
_HELP = re.compile(rf"# HELP (?P<name>{_NAME}) (?P<text>(?:[^\\\n]|\\[\\n])+)")
_TYPE = re.compile(rf"# TYPE (?P<name>{_NAME}) (?P<kind>counter|gauge|histogram)")
_SAMPLE = re.compile(
    rf"(?P<name>{_NAME})(?:\{{(?P<labels>{_LABEL}(?:,{_LABEL})*)\}})? (?P<value>[^ \n]+)"
)
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
_PARTS = {"histogram": ("_bucket", "_sum", "_count")}

Labels = frozenset[tuple[str, str]]


@dataclass
class Family:
    """One metric: its kind, and the values of its series by name and labels."""

    kind: str
    text: str
    series: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """The value of the only series that has these labels."""
        wanted = set(labels.items())
        found = [value for (_, has), value in self.series.items() if wanted <= has]
        assert len(found) == 1, (labels, found)
        return found[0]


def read(text: str) -> dict[str, Family]:
    """Return the families of a text by name; an AssertionError says what is wrong with it."""
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    name = help_text = ""
    for line in text.removesuffix("\n").split("\n"):
        if said := _HELP.fullmatch(line):
            assert said["name"] not in families, line
            name, help_text = said["name"], said["text"]
        elif typed := _TYPE.fullmatch(line):
            assert typed["name"] == name, line
            families[name] = Family(typed["kind"], help_text)
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample is not None, line
            _add(families[name], name, sample)
    for name, family in families.items():
        _check(name, family)
    return families


def _add(family: Family, name: str, sample: re.Match[str]) -> None:
    allowed = {name + end for end in _PARTS.get(family.kind, ("",))}
    assert sample["name"] in allowed, sample[0]
    pairs = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', sample["labels"] or "")
    labels = frozenset((key, _unescaped(value)) for key, value in pairs)
    assert len(dict(labels)) == len(pairs), f"a label twice: {sample[0]}"
    key = (sample["name"], labels)
    assert key not in family.series, f"a series twice: {sample[0]}"
    family.series[key] = float(sample["value"])


def _unescaped(text: str) -> str:
    return re.sub(r'\\[\\"n]', lambda match: _ESCAPES[match[0]], text)


def _check(name: str, family: Family) -> None:
    if family.kind == "counter":
        assert name.endswith("_total")
        assert all(value >= 0 for value in family.series.values())
    elif family.kind == "histogram":
        _check_histogram(name, family)


def _check_histogram(name: str, family: Family) -> None:
    buckets: dict[Labels, list[tuple[float, float]]] = {}
    for (part, labels), value in family.series.items():
        if part == f"{name}_bucket":
            bound = float(dict(labels)["le"])
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            buckets.setdefault(rest, []).append((bound, value))
    for labels, found in buckets.items():
        counts = [count for _, count in sorted(found)]
        assert counts == sorted(counts), f"{name}: the buckets are not cumulative"
        assert max(found)[0] == float("inf")
        assert counts[-1] == family.series[f"{name}_count", labels]
        assert (f"{name}_sum", labels) in family.series
