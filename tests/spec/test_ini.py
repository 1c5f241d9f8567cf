from __future__ import annotations

from configparser import Error, RawConfigParser

from hypothesis import given
from hypothesis import strategies as st

from palm.spec.ini import read_ini

TEXT = """\
# a comment
[DEFAULT]
Where = here

[One service]
Script = python3 a.py
   --more = words
   ; not this
   and these
--Case : Kept = %(x)s
--flag

[Two]
"""


def test_options_have_their_lines_and_their_case() -> None:
    sections, errors = read_ini(TEXT, "x.conf")
    assert errors == []
    assert [(each.name, each.line) for each in sections] == [
        ("DEFAULT", 2), ("One service", 5), ("Two", 13),
    ]  # fmt: skip
    assert [(o.name, o.value, o.line) for o in sections[1].options] == [
        ("Script", "python3 a.py\n--more = words\nand these", 6),
        ("--Case", "Kept = %(x)s", 10),
        ("--flag", None, 11),
    ]


def test_what_is_wrong_has_its_line() -> None:
    text = "a = 1\n[A]\nx = 1\nX = 2\n= 3\n[B]\n[A]\ny = 1\n"
    sections, errors = read_ini(text, "x.conf")
    assert [(error.file, error.line, error.key) for error in errors] == [
        ("x.conf", 1, None), ("x.conf", 4, "[A] X"), ("x.conf", 5, None), ("x.conf", 7, "[A]"),
    ]  # fmt: skip
    assert "first on line 3" in str(errors[1])
    assert "first on line 2" in str(errors[3])
    assert [(o.name, o.value) for o in sections[0].options] == [("x", "1"), ("y", "1")]


LINES = st.sampled_from(
    ["[a]", "[b c]", "[DEFAULT]", "k = v", "--K=v = w", "l: 1", "m", "  more", "\tand = more",
     "# no", "  ; no", "", "   ", "n =", " o = 1", "p = [x]", " [q]", "é = ü"]
)  # fmt: skip


@given(st.lists(LINES, max_size=14))
def test_it_reads_what_python_reads(lines: list[str]) -> None:
    text = "\n".join(lines)
    parser = RawConfigParser(allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except (Error, AttributeError):
        return  # AttributeError: more lines of an option without a value
    sections, errors = read_ini(text, "x.conf")
    assert errors == []
    defaults = parser.defaults()
    found = {each.name: {o.name: o.value for o in each.options} for each in sections}
    assert {name: _joined(values) for name, values in found.items() if name != "DEFAULT"} == {
        name: _joined({k: v for k, v in parser[name].items() if k in found[name]})
        for name in parser.sections()
    }
    assert _joined(found.get("DEFAULT", {})) == _joined(dict(defaults))
    for each in sections:
        for option in each.options:
            assert option.name in lines[option.line - 1]


def _joined(values: dict[str, str | None]) -> dict[str, list[str] | None]:
    """Values without the empty lines and comments in them."""
    return {name: value.split() if value is not None else None for name, value in values.items()}


@given(st.text())
def test_any_text_is_read_or_told(text: str) -> None:
    sections, errors = read_ini(text, "x.conf")
    assert all(error.line for error in errors)
    assert all(section.line for section in sections)
