"""Join the modules of the panel, and of the registry's page around it, into a file for each.

    python tools/join_panel.py           writes registry/palm_registry/static/{panel,page}.{js,css}
    python tools/join_panel.py --check   says whether they are what the sources make

The sources are plain ES modules, and few rules make joining them safe: a module imports by name
from a path, nothing is renamed, what is exported is a declaration, and no name is declared twice at
the top of any two modules. What breaks a rule is refused. What others wrote keeps a scope of its
own. The page imports the panel from its joined file, as every other page does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
WEB = ROOT / "registry" / "web"
STATIC = ROOT / "registry" / "palm_registry" / "static"
#: Where the page finds the joined panel.
PANEL = "./panel.js"

_IMPORT = re.compile(
    r'^import\s+(?P<what>\{[^}]*\}|\w+)\s+from\s+"(?P<path>[^"]+)";\n', re.MULTILINE
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)
_DECLARED = re.compile(r"^(?:async )?(?:function\*?|class|const|let) (\w+)", re.MULTILINE)
_DEFAULT = re.compile(r"^export default (\w+);\n", re.MULTILINE)
_CSS_IMPORT = re.compile(r'^@import "(?P<path>[^"]+)";\n', re.MULTILINE)
_NOTE = "Joined from registry/web by tools/join_panel.py: change the sources, and join them again."


class JoinError(Exception):
    """A source that cannot be joined."""


def join_script(main: Path, apart: Path | None = None) -> str:
    """Return one module that does what ``main`` does, with all that it imports before it.

    What ``apart`` exports is imported from `PANEL`, the file that it was joined into.
    """
    paths = list(_in_order(main, main.parent.parent, apart))
    parts = [f"// {_NOTE}\n"]
    declared: dict[str, Path] = {}
    if apart is not None:
        names = _imported(paths, apart)
        declared |= dict.fromkeys(names, apart)
        parts.append(f'import {{ {", ".join(names)} }} from "{PANEL}";\n')
    for path in paths:
        text = path.read_text("utf-8")
        if path.parent.name == "vendor":
            parts.append(_vendored(path, text))
            continue
        body = _IMPORT.sub("", text)
        if path != main:
            body = _EXPORT.sub("", body)
            _check(path, body)
        for name in _DECLARED.findall(body):
            if name in declared:
                raise JoinError(f"{path.name} and {declared[name].name} both declare {name}")
            declared[name] = path
        parts.append(f"// ---- {path.name}\n\n{body.strip()}\n")
    return "\n".join(parts)


def _in_order(path: Path, top: Path, apart: Path | None) -> Iterator[Path]:
    """Yield what a module imports, then the module, each once; nothing of what is ``apart``."""
    seen = {apart.resolve()} if apart is not None else set()
    yield from _visit(path, top, [], seen)


def _imported(paths: Iterable[Path], apart: Path) -> list[str]:
    """Return all names that modules import from the one that is apart."""
    names = set()
    for path in paths:
        for found in _IMPORT.finditer(path.read_text("utf-8")):
            if (path.parent / found["path"]).resolve() == apart.resolve():
                names |= {name.strip() for name in found["what"].strip("{}").split(",")}
    return sorted(names - {""})


def _visit(path: Path, top: Path, above: list[Path], seen: set[Path]) -> Iterator[Path]:
    if path in above:
        raise JoinError(f"{path.name} imports itself, by way of others")
    if path in seen:
        return
    text = path.read_text("utf-8")
    for found in _IMPORT.finditer(text):
        target = (path.parent / found["path"]).resolve()
        if not target.is_relative_to(top.resolve()) or not target.is_file():
            raise JoinError(f"{path.name} imports {found['path']!r}, which is no module of ours")
        if " as " in found["what"]:
            raise JoinError(f"{path.name} renames what it imports: {found['what']}")
        yield from _visit(target, top, [*above, path], seen)
    seen.add(path)
    yield path


def _check(path: Path, body: str) -> None:
    for line in body.splitlines():
        if line.startswith(("export", "import")):
            raise JoinError(f"{path.name} has a line that cannot be joined: {line}")


def _vendored(path: Path, text: str) -> str:
    """Return another's script, which ends with ``export default NAME;``, in a scope of its own."""
    name = _DEFAULT.search(text)
    if name is None:
        raise JoinError(f"{path.name} does not end with an export")
    script = _DEFAULT.sub("", text).strip()
    scope = f"const {name[1]} = (() => {{\n{script}\nreturn {name[1]};\n}})();\n"
    return f"// ---- {path.name}\n\n{scope}"


def join_styles(main: Path) -> str:
    """Return a style sheet with those that it imports in their places."""

    def inline(found: re.Match[str]) -> str:
        return (main.parent / found["path"]).read_text("utf-8").strip() + "\n\n"

    text = _CSS_IMPORT.sub(inline, main.read_text("utf-8"))
    return f"/* {_NOTE} */\n\n{text.strip()}\n"


def joined() -> dict[Path, str]:
    """Return the files, and what is to be in them."""
    panel = WEB / "src" / "main.js"
    return {
        STATIC / "panel.js": join_script(panel),
        STATIC / "panel.css": join_styles(WEB / "css" / "main.css"),
        STATIC / "page.js": join_script(WEB / "page" / "main.js", apart=panel),
        STATIC / "page.css": join_styles(WEB / "page" / "css" / "main.css"),
    }


def main(arguments: list[str]) -> int:
    """Write the files, or check them."""
    try:
        files = joined()
    except JoinError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in files.items() if _read(path) != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.name} is not what the sources make: run python tools/join_panel.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(files[path], "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
