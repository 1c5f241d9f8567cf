"""The panel: the joined files are those of the sources, and the modules do what they should."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import join_panel
from tools.join_panel import WEB, JoinError, join_script, join_styles, joined


def modules(folder: Path, **texts: str) -> Path:
    (folder / "src").mkdir()
    for name, text in texts.items():
        (folder / "src" / f"{name}.js").write_text(text)
    return folder / "src" / "main.js"


def test_joined_files_are_what_the_sources_make() -> None:
    stale = [path.name for path, text in joined().items() if path.read_text("utf-8") != text]
    assert not stale, "run python tools/join_panel.py"


@pytest.mark.node
def test_modules_do_what_they_should() -> None:
    command = ["node", "--test", "--test-reporter=spec", "test/"]
    done = subprocess.run(command, cwd=WEB, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr


@pytest.mark.node
def test_joined_module_gives_what_its_parts_export(tmp_path: Path) -> None:
    main = modules(
        tmp_path,
        one="export const LIMIT = 3;\n\nexport async function twice(n) {\n  return 2 * n;\n}\n",
        two='import { LIMIT } from "./one.js";\nexport class Box {\n  size = LIMIT;\n}\n',
        main='import {\n  twice,\n} from "./one.js";\nimport { Box } from "./two.js";\n'
        "\nexport { Box };\nexport default twice;\n",
    )
    (tmp_path / "joined.mjs").write_text(join_script(main))
    (tmp_path / "use.mjs").write_text(
        'import twice, { Box } from "./joined.mjs";\n'
        "const names = Object.keys(await import('./joined.mjs')).join();\n"
        "console.log(await twice(new Box().size), names);"
    )
    done = subprocess.run(["node", tmp_path / "use.mjs"], capture_output=True, text=True)
    assert done.stdout == "6 Box,default\n", done.stderr


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        ({"main": 'import { a } from "./gone.js";\n'}, "no module of ours"),
        ({"main": 'import { a } from "../../out.js";\n'}, "no module of ours"),
        (
            {"main": 'import { a as b } from "./one.js";\n', "one": "export const a = 1;\n"},
            "renames",
        ),
        (
            {"main": 'import { a } from "./one.js";\nconst a_ = 1;\nfunction a() {}\n',
             "one": "export const a = 1;\n"},
            "both declare a",
        ),
        (
            {"main": 'import { a } from "./one.js";\n', "one": 'export * from "./two.js";\n'},
            "cannot be joined",
        ),
        (
            {"main": 'import { a } from "./one.js";\n', "one": 'import { b } from "./main.js";\n'},
            "imports itself",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_safely_is_refused(
    tmp_path: Path, texts: dict[str, str], why: str
) -> None:
    with pytest.raises(JoinError, match=why):
        join_script(modules(tmp_path, **texts))


def test_what_others_wrote_keeps_its_names_for_itself(tmp_path: Path) -> None:
    main = modules(tmp_path, main='import lib from "../vendor/lib.js";\nconst inner = lib;\n')
    (tmp_path / "vendor").mkdir()
    script = "const inner = 1;\nvar lib = inner;\nexport default lib;\n"
    (tmp_path / "vendor" / "lib.js").write_text(script)
    text = join_script(main)
    assert "const lib = (() => {\nconst inner = 1;" in text
    assert text.count("export") == 0


@pytest.mark.node
def test_what_is_joined_into_a_file_of_its_own_is_imported_from_there(tmp_path: Path) -> None:
    panel = modules(
        tmp_path,
        main='import { twice } from "./twice.js";\n\nexport { twice };\nexport const ONE = 1;\n',
        twice="export function twice(n) {\n  return 2 * n;\n}\n",
    )
    (tmp_path / "page").mkdir()
    page = tmp_path / "page" / "main.js"
    page.write_text(
        'import { ONE, twice } from "../src/main.js";\nimport { said } from "./said.js";\n'
        "said(twice(ONE));\n"
    )
    (tmp_path / "page" / "said.js").write_text(
        'import { ONE } from "../src/main.js";\n\n'
        "export function said(n) {\n  console.log(n + ONE);\n}\n"
    )
    (tmp_path / "panel.js").write_text(join_script(panel))
    (tmp_path / "page.js").write_text(text := join_script(page, apart=panel))
    assert text.count("import ") == 1 and "function twice" not in text
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(["node", tmp_path / "page.js"], capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr


def test_no_name_of_a_page_is_one_that_it_imports_from_the_panel(tmp_path: Path) -> None:
    panel = modules(tmp_path, main="export const ONE = 1;\n")
    (tmp_path / "page").mkdir()
    page = tmp_path / "page" / "main.js"
    page.write_text('import { ONE } from "../src/main.js";\nconst ONE = 2;\n')
    with pytest.raises(JoinError, match="both declare ONE"):
        join_script(page, apart=panel)


def test_style_sheets_stand_where_they_are_imported(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("a {}\n")
    (tmp_path / "main.css").write_text('@import "./a.css";\nb {}\n')
    assert join_styles(tmp_path / "main.css").endswith("a {}\n\nb {}\n")


def test_check_says_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(join_panel, "STATIC", tmp_path)
    monkeypatch.setattr(join_panel, "ROOT", tmp_path)
    assert join_panel.main(["--check"]) == 1
    assert "run python tools/join_panel.py" in capsys.readouterr().out
    assert join_panel.main([]) == 0
    assert join_panel.main(["--check"]) == 0
