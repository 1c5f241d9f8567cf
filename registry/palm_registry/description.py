"""What each address takes and gives: one table, for the check of requests and for the document.

A handler's method is marked with `describes`. What is not in the mark, the registry does not take;
what is, the API document lists. So the two cannot disagree. Nothing here knows how HTTP is spoken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from palm.spec.names import nearest
from palm_registry.failures import Invalid

__all__ = [
    "Description",
    "Query",
    "Template",
    "check_query",
    "describes",
    "description_of",
    "descriptions_of",
    "methods_of",
    "template_of",
]

F = TypeVar("F", bound=Callable[..., Any])

#: "count" is a whole number from 0 on, "number" any, "flag" 0 or 1.
Kind = Literal["text", "number", "count", "flag"]
#: Numbers are below it: up to there each whole one is exact as a float.
MOST = 2**53
#: Values and names of a query that are repeated in an error, in characters.
_SHOWN = 100

_FORMS = {
    "number": re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?"),
    "count": re.compile(r"[0-9]{1,20}"),
}
_EXPECTED = {"number": "a number", "count": "a whole number from 0 on"}
_GROUP = re.compile(r"\(\?P<(?P<name>\w+)>(?P<form>(?:[^()\\]|\\.)*)\)")
_METHODS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True, slots=True)
class Query:
    """One argument of the query; with ``many`` it may be given more than once.

    ``choices`` are all values that it may have, if there are any. ``longest`` is in characters.
    """

    name: str
    text: str
    kind: Kind = "text"
    many: bool = False
    choices: tuple[str, ...] = ()
    longest: int | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """All values that it may have, none if there are too many to tell."""
        return ("0", "1") if self.kind == "flag" else self.choices

    def check(self, value: str) -> None:
        """Refuse a value that cannot be meant."""
        shown = repr(value[:_SHOWN])
        if self.values and value not in self.values:
            raise self._invalid(f"{shown} is no choice", f"of {', '.join(self.values)}")
        form = _FORMS.get(self.kind)
        if form and not (form.fullmatch(value) and abs(float(value)) < MOST):
            raise self._invalid(f"{shown} is not {_EXPECTED[self.kind]}")
        if self.longest is not None and len(value) > self.longest:
            raise self._invalid(f"more than {self.longest} characters")

    def _invalid(self, text: str, hint: str = "") -> Invalid:
        return Invalid("query", f"{self.name}: {text}", hint)


@dataclass(frozen=True, slots=True)
class Description:
    """What one method of an address takes and gives.

    ``body`` and ``reply`` are types of the schema, None for nothing; a reply of another ``media``
    type than JSON is text. ``status`` are those of success, ``errors`` those besides the usual.
    ``where`` says for which values of the path it holds, where they differ.
    """

    query: tuple[Query, ...] = ()
    body: Any = None
    optional_body: bool = False
    reply: Any = None
    media: str = "application/json"
    status: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    example: Any = None
    summary: str = ""
    open_to_all: bool = False


def describes(
    *query: Query, status: int | tuple[int, ...] | None = None, **values: Any
) -> Callable[[F], F]:
    """Mark a handler's method with what it takes and gives; see `Description`.

    Without ``status`` it is 200, or 204 if there is no reply. A method may have several marks
    that differ by their ``where``.
    """
    text = values.get("media", "application/json") != "application/json"
    if status is None:
        status = 200 if "reply" in values or text else 204
    one_or_more = status if isinstance(status, tuple) else (status,)
    found = Description(query=query, status=one_or_more, **values)

    def mark(method: F) -> F:
        method.__dict__.setdefault("described", []).insert(0, found)
        return method

    return mark


def descriptions_of(handler: type, method: str) -> list[Description]:
    """Return the marks of a method ("get"), none if it has no marks."""
    return list(getattr(getattr(handler, method, None), "described", ()))


def description_of(handler: type, method: str, path: Mapping[str, Any]) -> Description | None:
    """Return the mark that holds for the values of a path."""
    for found in descriptions_of(handler, method.lower()):
        if found.where.items() <= path.items():
            return found
    return None


def methods_of(handler: type, base: type) -> list[str]:
    """Return the methods that a handler answers, in small letters; ``base`` answers none."""
    return [name for name in _METHODS if getattr(handler, name) is not getattr(base, name)]


def check_query(
    description: Description, given: Mapping[str, list[bytes]]
) -> dict[str, list[bytes]]:
    """Return the arguments that are in the description, each of the form that it says.

    Others are left alone, unless one of them looks like a typing error.

    Raises
    ------
    Invalid
        An argument is of another form, there more than once without reason, or misspelt.
    """
    known = {each.name: each for each in description.query}
    found = {}
    for name, values in given.items():
        query = known.get(name)
        if query is None:
            if close := nearest(name[:_SHOWN], known):
                shown = repr(name[:_SHOWN])
                raise Invalid("query", f"there is no argument {shown}", f"did you mean {close!r}?")
            continue
        found[name] = values
        texts = [_decoded(name, value) for value in values]
        if len(texts) > 1 and not query.many:
            raise Invalid("query", f"{name}: it is given {len(texts)} times")
        for text in texts:
            query.check(text)
    return found


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Invalid("query", f"{name}: it is not UTF-8") from error


# ---- addresses


@dataclass(frozen=True, slots=True)
class Template:
    """An address: ``path`` with names in braces, and the form of what stands for each name."""

    path: str
    forms: Mapping[str, str]

    def choices(self, name: str) -> list[str]:
        """All values that stand for a name, none if they cannot be listed."""
        parts = self.forms[name].split("|")
        plain = [part.replace(r"\.", ".") for part in parts]
        return plain if all(re.fullmatch(r"[\w.-]+", part) for part in plain) else []


def template_of(route: str) -> Template:
    """Return the address that a regular expression of the table of routes stands for."""
    forms = {match["name"]: match["form"] for match in _GROUP.finditer(route)}
    path = _GROUP.sub(lambda match: f"{{{match['name']}}}", route)
    return Template("/" + path.replace(r"\.", "."), forms)
