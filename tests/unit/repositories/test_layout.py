"""What a user wrote in repos.toml stays there when the program changes it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fuzzing import fuzzed
from hypothesis import given
from hypothesis import strategies as st

from pypi_insiders.config.toml_fields import as_toml
from pypi_insiders.repositories import registry
from pypi_insiders.repositories.layout import revise
from pypi_insiders.repositories.repository import Repository

FILE = """\
# My repositories

# Anna's: ask her
["a/b"] # fork
keep = 5 # disk is small
  tags = 'v*'
python = [
  "3.12", # production
  "3.13",
]
# network = true

# Bob's
["c/d"]
["e/f"]
url = "https://h/f"
"""


def changed(old: str, new: str, text: str = FILE) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"a/b": {"keep": 6}}, changed("keep = 5 #", "keep = 6 #")),
        ({"a/b": {"tags": "x-*"}}, changed("tags = 'v*'", 'tags = "x-*"')),
        ({"a/b": {"keep": None}}, changed("keep = 5 # disk is small\n", "")),
        ({"a/b": {"python": ["3.13", "3.14"]}},
         changed('  "3.12", # production\n  "3.13",\n', '  "3.13",\n  "3.14",\n')),
        ({"a/b": {"python": ["3.12"]}}, changed('  "3.13",\n', "")),
        ({"a/b": {"python": ["3.12", "3.14"]}}, changed('"3.13"', '"3.14"')),
        ({"a/b": {"pre": True}}, changed("]\n# network", "]\npre = true\n# network")),
        ({"c/d": {"pre": True}}, changed('["c/d"]\n', '["c/d"]\npre = true\n')),
        ({"e/f": {"keep": 1}}, FILE + "keep = 1\n"),
        ({"x/y": {}}, FILE + '\n["x/y"]\n'),
        ({"x/y": {"keep": 1}, "z/z": {}}, FILE + '\n["x/y"]\nkeep = 1\n\n["z/z"]\n'),
        ({"c/d": None}, changed('["c/d"]\n', "\n")),
        ({"e/f": None}, changed('["e/f"]\nurl = "https://h/f"\n', "")),
        ({"a/b": None},
         "# My repositories\n\n# Anna's: ask her\n\n# network = true\n\n"
         + FILE[FILE.index("# Bob's"):]),
    ],
)  # fmt: skip
def test_only_what_changes_is_written(changes: dict[str, Any], expected: str) -> None:
    assert revise(FILE, changes) == expected


@pytest.mark.parametrize(
    ("text", "changes", "expected"),
    [
        # Keys at the top of the file, before any header.
        ('"a/b".keep = 5 # x\n"c/d".pre = true\n', {"a/b": {"keep": 6}},
         '"a/b".keep = 6 # x\n"c/d".pre = true\n'),
        ('"a/b".keep = 5\n"c/d".pre = true\n', {"a/b": {"pre": True}},
         '"a/b".keep = 5\n"a/b".pre = true\n"c/d".pre = true\n'),
        ('"a/b".keep = 5\n"c/d".pre = true\n', {"a/b": {"keep": None}},
         '"a/b" = {}\n"c/d".pre = true\n'),
        ('"a/b".keep = 5\n"c/d".pre = true\n"a/b".pre = true\n', {"a/b": None},
         '"c/d".pre = true\n'),
        ('"a/b".keep = 5', {"x/y": {}}, '"a/b".keep = 5\n\n["x/y"]\n'),
        # Inline tables.
        ('"a/b" = {keep = 5, pre = true} # x\n', {"a/b": {"keep": 6}},
         '"a/b" = {keep = 6, pre = true} # x\n'),
        ('"a/b" = { keep = 5 } # x\n', {"a/b": {"pre": True}},
         '"a/b" = { keep = 5, pre = true} # x\n'),
        ('"a/b" = {keep = 5} # x\n', {"a/b": {"keep": None}}, '"a/b" = {} # x\n'),
        ('"a/b" = {} # x\n', {"a/b": {"keep": 5}}, '"a/b" = {keep = 5} # x\n'),
        ('# y\n"a/b" = {keep = 5} # x\n"c/d" = {}\n', {"a/b": None}, '# y\n\n"c/d" = {}\n'),
        # Spellings of headers and keys.
        ('[ \'a/b\' ] # x\n\t"keep" = 5\n', {"a/b": {"keep": 6, "pre": False}},
         '[ \'a/b\' ] # x\n\t"keep" = 6\n\tpre = false\n'),
        ('["a\\u002Fb"]\nkeep = 5\n', {"a/b": {"keep": 6}}, '["a\\u002Fb"]\nkeep = 6\n'),
        # What looks like a header, a comment or the end of a line, and is none.
        ('["a/b"]\nurl = """https://h/x\\\n["c/d"]\n# no comment"""\n["e/f"]\n',
         {"a/b": {"keep": 6}},
         '["a/b"]\nurl = """https://h/x\\\n["c/d"]\n# no comment"""\nkeep = 6\n["e/f"]\n'),
        ('["a/b"] # \u2028["c/d"]\nkeep = 5\n', {"a/b": {"keep": 6}},
         '["a/b"] # \u2028["c/d"]\nkeep = 6\n'),
        # Ends of lines, and of the file.
        ('# x\r\n["a/b"]\r\nkeep = 5 # y\r\n', {"a/b": {"keep": 6, "pre": True}, "x/y": {}},
         '# x\r\n["a/b"]\r\nkeep = 6 # y\r\npre = true\r\n\r\n["x/y"]\r\n'),
        ('["a/b"]\r\npython = [\r\n  "3.12",\r\n]\r\n', {"a/b": {"python": ["3.12", "3.13"]}},
         '["a/b"]\r\npython = [\r\n  "3.12",\r\n  "3.13",\r\n]\r\n'),
        ('["a/b"]\nkeep = 5', {"a/b": {"keep": 6}}, '["a/b"]\nkeep = 6'),
        ('["a/b"]\nkeep = 5', {"a/b": {"pre": True}}, '["a/b"]\nkeep = 5\npre = true\n'),
        ('["a/b"]\n# end', {"a/b": {"pre": True}}, '["a/b"]\npre = true\n# end'),
        ('["a/b"]\n# end', {"x/y": {}}, '["a/b"]\n# end\n\n["x/y"]\n'),
        ('["a/b"]', {"a/b": None}, ""),
        ("", {"x/y": {"keep": 1}}, '["x/y"]\nkeep = 1\n'),
    ],
)  # fmt: skip
def test_other_forms_of_toml(text: str, changes: dict[str, Any], expected: str) -> None:
    assert revise(text, changes) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["c/d"]\n\n["a/b"]\nkeep = 5\n\n["e/f"]\n', '["c/d"]\n\n["e/f"]\n'),
        ('\n["a/b"]\n\n["e/f"]\n', '\n["e/f"]\n'),
        ('["c/d"]\n\n["a/b"]\n', '["c/d"]\n'),
        ('["c/d"]\n["a/b"]\n["e/f"]\n', '["c/d"]\n["e/f"]\n'),
        ('["a/b"]\nkeep = 5 # gone\n# of e/f\n["e/f"]\n', '# of e/f\n["e/f"]\n'),
        ('["a/b"]\n# gone\nkeep = 5\n# end\n', "# end\n"),
    ],
)
def test_a_removed_table_leaves_no_gap(text: str, expected: str) -> None:
    assert revise(text, {"a/b": None}) == expected


def test_no_comment_on_a_removed_table_seems_to_be_one_on_the_next() -> None:
    assert revise('# on a/b\n["a/b"]\n["e/f"]\n', {"a/b": None}) == '# on a/b\n\n["e/f"]\n'


@dataclass(frozen=True)
class Part:
    """Some lines of a file."""

    text: str
    table: str = ""
    key: str = ""
    value: Any = None


NAMES = ("a/b", "c/d.e", "E/f_g", "h/i-j")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "keep": st.integers(0, 99),
    "pre": st.booleans(),
    "tags": st.sampled_from(["v*", 'a"b', "a'b", "{version}-\u00e9", "[x]#"]),
    "python": st.lists(
        st.sampled_from(["3.11", "3.12", "3.13", "3.14"]), min_size=1, unique=True
    ),
}  # fmt: skip
COMMENTS = st.sampled_from(["", " # why", " #[x]", '\t# "é" = {'])
BETWEEN = st.lists(
    st.sampled_from(["\n", "# note\n", '  # ["a/b"]\n', "#keep = 5\n", "\t\n"]), max_size=3
)


def written(value: Any) -> st.SearchStrategy[str]:
    if not isinstance(value, list):
        return st.just(as_toml(value))
    lines = [f'  "{item}", # on {item}\n' for item in value]
    return st.sampled_from(
        [as_toml(value), f"[ {as_toml(value)[1:-1]} ,]", f"[ # list\n{''.join(lines)}]"]
    )


@st.composite
def files(draw: st.DrawFn) -> list[Part]:
    """Parts of a file: headers, keys, and comments or blank lines."""
    parts = [Part(text) for text in draw(BETWEEN)]
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)):
        header = draw(st.sampled_from([f'["{name}"]', f"[ '{name}' ]", f'  ["{name}"]']))
        parts.append(Part(f"{header}{draw(COMMENTS)}\n", name))
        for key in draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True)):
            parts += [Part(text) for text in draw(BETWEEN)]
            value = draw(VALUES[key])
            indent, equals = draw(st.sampled_from([("", " = "), ("  ", "="), ("\t", "  =  ")]))
            text = f"{indent}{key}{equals}{draw(written(value))}{draw(COMMENTS)}\n"
            parts.append(Part(text, name, key, value))
        parts += [Part(text) for text in draw(BETWEEN)]
    return parts


def text_of(parts: list[Part], ends: tuple[str, bool]) -> str:
    newline, is_ended = ends
    text = "".join(part.text for part in parts)
    return (text if is_ended else text.removesuffix("\n")).replace("\n", newline)


ENDS = st.tuples(st.sampled_from(["\n", "\r\n"]), st.booleans())


@fuzzed(1, usual=100)
@given(files(), ENDS, st.data())
def test_a_change_leaves_all_other_lines(
    parts: list[Part], ends: tuple[str, bool], data: st.DataObject
) -> None:
    """Of whatever file; a changed key changes its own line, and a new one is a line more."""
    before = text_of(parts, ends)
    document = tomllib.loads(before)
    name, key = data.draw(st.sampled_from(sorted(document))), data.draw(st.sampled_from([*VALUES]))
    value = data.draw(st.none() | VALUES[key])
    after = revise(before, {name: {key: value}})

    document[name][key] = value
    if value is None:
        del document[name][key]
    assert tomllib.loads(after) == document
    kept = [part for part in parts if (part.table, part.key) != (name, key)]
    lines, others = after.splitlines(), text_of(kept, ends).splitlines()
    place = next(
        (parts.index(part) for part in parts if (part.table, part.key) == (name, key)), None
    )
    if place is None:
        last = max(number for number, part in enumerate(parts) if part.table == name)
        place = last + 1
    head = text_of(parts[:place], ("\n", True)).splitlines()
    assert lines[: len(head)] == head
    tail = others[len(head) :]
    assert lines[len(lines) - len(tail) :] == tail
    old = next((part for part in kept + parts if (part.table, part.key) == (name, key)), None)
    if old and value is not None:
        assert after.count("# on ") >= before.count("# on ") - sum(
            f"# on {item}" in old.text for item in (old.value if key == "python" else ())
            if item not in value
        )  # fmt: skip


@fuzzed(1, usual=100)
@given(files(), ENDS, st.data())
def test_a_removal_leaves_all_other_tables_and_comments(
    parts: list[Part], ends: tuple[str, bool], data: st.DataObject
) -> None:
    before = text_of(parts, ends)
    document = tomllib.loads(before)
    name = data.draw(st.sampled_from(sorted(document)))
    after = revise(before, {name: None})

    del document[name]
    assert list(tomllib.loads(after).items()) == list(document.items())
    own = [number for number, part in enumerate(parts) if part.table == name]
    left = [*parts[: own[0]], *parts[own[-1] + 1 :]]
    assert [line for line in after.splitlines() if line.strip()] == [
        line for line in text_of(left, ends).splitlines() if line.strip()
    ]


@fuzzed(1, usual=50)
@given(files(), ENDS, VALUES["keep"])
def test_an_addition_follows_the_whole_file(
    parts: list[Part], ends: tuple[str, bool], keep: int
) -> None:
    before = text_of(parts, ends)
    after = revise(before, {"new/one": {"keep": keep}})
    assert after.startswith(before)
    assert tomllib.loads(after) == {**tomllib.loads(before), "new/one": {"keep": keep}}


def test_nothing_is_written_where_nothing_changes(tmp_path: Path) -> None:
    """Not even what would be spelled otherwise."""
    path = tmp_path / "repos.toml"
    path.write_text('["a/b.git"]\nproject = "My_Dist"\n')
    number = path.stat().st_ino
    registry.save(path, registry.load(path).values())
    assert path.stat().st_ino == number


def test_a_table_is_found_by_the_name_of_its_repository(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_text('["a/b.git"] # x\nproject = "My_Dist"\n')
    registry.save(path, [Repository("a/b", "my-dist", keep=5)])
    assert path.read_text() == '["a/b.git"] # x\nproject = "My_Dist"\nkeep = 5\n'


def test_a_header_that_is_no_longer_true_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    first = "# The repositories that pypi-insiders watches, written by `pypi-insiders repos`.\n"
    path.write_text(
        f"{first}# You may edit this file; comments are lost at the next `add`, `set`, `import` or "
        '`remove`.\n\n["a/b"]\n'
    )
    registry.save(path, [Repository("a/b", keep=5)])
    assert path.read_text() == (
        f"{first}# You may edit this file; its commands keep your comments and layout.\n\n"
        '["a/b"]\nkeep = 5\n'
    )


def test_the_ends_of_lines_stay(tmp_path: Path) -> None:
    path = tmp_path / "repos.toml"
    path.write_bytes(b'["a/b"] # x\r\nkeep = 5\r\n')
    registry.save(path, [Repository("a/b", keep=6)])
    assert path.read_bytes() == b'["a/b"] # x\r\nkeep = 6\r\n'
