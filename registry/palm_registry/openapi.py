"""The API document, OpenAPI 3.1: made of the table of routes, the marks and the schema."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from palm.registry_api.schema import ErrorBody
from palm_registry.description import (
    MOST,
    Description,
    Query,
    Template,
    descriptions_of,
    methods_of,
    template_of,
)

__all__ = ["Document", "document", "operations"]

#: An OpenAPI document is described by its own standard.
Document = dict[str, Any]

JSON, MSGPACK = "application/json", "application/msgpack"
_REFERENCE = "#/components/schemas/{name}"
#: Statuses that any request may get, and those of requests with a body.
_USUAL = (400, 401, 403, 413, 426, 429, 503)
_WITH_BODY = (415,)
_MEANINGS = {
    400: "it cannot be meant",
    401: "there is no credential, or an unknown one",
    403: "it may not be, or not from there",
    404: "it is not there",
    409: "it does not fit what is there",
    410: "it was there, and will not be again",
    413: "the body is too large",
    415: "the body is neither JSON nor MessagePack",
    426: "it is no WebSocket, or of another version of the API",
    429: "there were too many failed attempts to get in; try again after `Retry-After` seconds",
    503: "the database is busy; try again after `Retry-After` seconds",
}
#: What the names in addresses stand for.
_NAMES = {
    "key": "the cluster",
    "name": "the component",
    "node": "the id of the node",
    "path": "the file",
}
_FIRST = "/api/clusters"

_ABOUT = """\
The registry keeps what clusters are to be, what they are, and what they say.

Addresses are relative to where the registry is. Bodies are JSON, or MessagePack if `Content-Type`
and `Accept` say `application/msgpack`; bytes are base64 in JSON. Times are seconds since 1970
(UTC), durations seconds, sizes bytes. Fields of a body and arguments of a query that are not
known are ignored.
"""

Routes = Sequence[tuple[str, Any]]


def operations(
    routes: Routes, base: type
) -> Iterator[tuple[Template, type, str, Description | None]]:
    """Yield each method of each address with its mark, None for one that has none.

    ``base`` is a handler that answers nothing. The route for all other addresses is left out.
    """
    for route, handler in routes:
        if route == r".*":
            continue
        for method in methods_of(handler, base):
            marks: list[Any] = descriptions_of(handler, method) or [None]
            for mark in marks:
                yield template_of(route), handler, method, mark


def document(routes: Routes, base: type, version: str, cookie: str) -> Document:
    """Return the document; ``cookie`` is the name of that of a browser's session."""
    found = [
        (template, handler, method, mark)
        for template, handler, method, mark in operations(routes, base)
        if mark is not None
    ]
    types: list[Any] = [ErrorBody]
    for *_, mark in found:
        types += [type_ for type_ in (mark.body, mark.reply) if type_ is not None]
    shapes, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    shape_of = dict(zip(map(_key, types), shapes, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for template, handler, method, mark in found:
        operation = _operation(template, handler, method, mark, shape_of)
        paths.setdefault(_path(template, mark), {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "palm registry", "version": version, "description": _ABOUT},
        "servers": [{"url": "."}],
        "tags": _tags(found),
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": _security_schemes(cookie)},
    }


def _key(type_: Any) -> str:
    return repr(type_)  # some are not hashable as they stand


def _path(template: Template, mark: Description) -> str:
    path = template.path
    for name, value in mark.where.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _operation(
    template: Template, handler: type, method: str, mark: Description, shape_of: Mapping[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": "-".join([method, handler.__name__.lower(), *mark.where.values()]),
        "tags": [_tag(handler)],
        "summary": mark.summary or _summary(handler, method),
        "parameters": [*_path_parameters(template, mark), *map(_query_parameter, mark.query)],
        "responses": dict(_responses(template, handler, mark, shape_of)),
        "security": [] if _is_open(handler, mark) else _security(method),
    }
    if mark.body is not None:
        content: dict[str, Any] = {"schema": shape_of[_key(mark.body)]}
        if mark.example is not None:
            content["example"] = msgspec.to_builtins(mark.example)
        operation["requestBody"] = {
            "required": not mark.optional_body,
            "content": {JSON: content, MSGPACK: {"schema": content["schema"]}},
        }
    return operation


def _summary(handler: type, method: str) -> str:
    """What the handler is about, and what the method does with it, from their docstrings."""
    about = _first_line(handler).rstrip(".")
    does = _first_line(getattr(handler, method))
    return f"{about}: {does[:1].lower()}{does[1:]}".replace("``", "`")


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _tag(handler: type) -> str:
    return handler.__module__.rpartition(".")[2]


def _tags(found: Iterable[tuple[Template, type, str, Description]]) -> list[dict[str, str]]:
    """Areas in the order of their addresses: first what is about clusters, then the rest."""
    ordered = sorted(found, key=lambda each: not each[0].path.startswith(_FIRST))
    areas = {_tag(handler): handler.__module__ for _, handler, _, _ in ordered}
    return [
        {"name": name, "description": _first_line(sys.modules[module])}
        for name, module in areas.items()
    ]


def _path_parameters(template: Template, mark: Description) -> Iterator[dict[str, Any]]:
    for name, form in template.forms.items():
        if name in mark.where:
            continue
        choices = template.choices(name)
        shape = {"type": "string"} | ({"enum": choices} if choices else {"pattern": f"^{form}$"})
        parameter = {"name": name, "in": "path", "required": True, "schema": shape}
        if name in _NAMES:
            parameter["description"] = _NAMES[name]
        yield parameter


def _query_parameter(query: Query) -> dict[str, Any]:
    shape = _shape(query)
    return {
        "name": query.name,
        "in": "query",
        "description": query.text,
        "schema": {"type": "array", "items": shape} if query.many else shape,
    }


def _shape(query: Query) -> dict[str, Any]:
    if query.values:
        return {"type": "string", "enum": list(query.values)}
    if query.kind == "count":
        return {"type": "integer", "minimum": 0, "exclusiveMaximum": MOST}
    if query.kind == "number":
        return {"type": "number", "exclusiveMinimum": -MOST, "exclusiveMaximum": MOST}
    return {"type": "string"} | ({"maxLength": query.longest} if query.longest else {})


def _responses(
    template: Template, handler: type, mark: Description, shape_of: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for status in mark.status:
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if mark.reply is not None:
            shape = {"schema": shape_of[_key(mark.reply)]}
            response["content"] = {JSON: shape, MSGPACK: shape}
        elif mark.media != JSON:
            response["content"] = {mark.media: {"schema": {"type": "string"}}}
        yield str(status), response
    error = {JSON: {"schema": shape_of[_key(ErrorBody)]}}
    for status in _errors(template, handler, mark):
        meaning = _MEANINGS.get(status, HTTPStatus(status).phrase)
        yield str(status), {"description": meaning, "content": error}


def _errors(template: Template, handler: type, mark: Description) -> list[int]:
    if _is_open(handler, mark):
        return sorted({403, *mark.errors})
    found = {*_USUAL, *mark.errors}
    if template.forms:
        found.add(404)
    if mark.body is not None:
        found.update(_WITH_BODY)
    return sorted(found)


def _is_open(handler: type, mark: Description) -> bool:
    return mark.open_to_all or bool(getattr(handler, "open_to_all", False))


def _security(method: str) -> list[dict[str, list[str]]]:
    browser: dict[str, list[str]] = {"session": []}
    if method != "get":
        browser["xsrf"] = []
    return [{"token": []}, browser]


def _security_schemes(cookie: str) -> dict[str, Any]:
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "what the token file holds: `tokens/owner` in the state folder",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "of a browser that was let in by `palm ui`",
        },
        "xsrf": {
            "type": "apiKey",
            "in": "header",
            "name": "X-XSRF-Token",
            "description": "with each change by a browser: the page has it",
        },
    }
