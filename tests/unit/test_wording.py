"""Plain words: phrases that readers did not understand are gone from every text of the project."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import ROOT

# What help, messages, pages and comments said once. One phrase a line, without regard to case, as
# whole words; `N` stands for a number or a place for one.
PHRASES = """
Tell every step
Tell only warnings and errors
Say which repositories are watched
Watch repositories no longer
Tell the person
what does no longer
Look for what commonly goes wrong
that lead to the index
Take the variables back
Show what is known of
Hide a release from
whoever
Go on as lines come in
Only lines as grave as
Only lines from then on
Let this user in no longer
Make the token invalid
names that ours does not hold
Such names are not found
what was built before
tell what differs
DIST is the name
by which others depend on it
it is what the first build says
what is wrong is said
watched nevertheless
begins anew
not watched: N
it has N tags
the newest release is
is not set any more
N checked, N
until somebody asks
nobody asked
was not booted with systemd
is not there
not there, nothing is set
kept from builds
none can be had
can be read from a unit like
does not use the index: nothing
nothing here leads to it
units: stale
units are stale
stale, as after
what answers at
trouble with
over: trouble
goes with one
there is no terminal to edit on
none of its Pythons is here
out of reach
is for now
both end when you log out
they say so
Everything else ends
is excepted from it
the newest final one
not lower than that
is no failure of the unit
made lead here
A room imports
A test holds both
its usual one
the person
"""

SUFFIXES = {".py", ".md", ".toml", ".html", ".js", ".css", ".in", ".conf", ".yml", ".yaml"}
SUFFIXES |= {".path", ".service", ".slice", ".socket", ".target", ".timer"}


def texts() -> Iterator[Path]:
    """Return the README, and all sources, pages, units and files for contributors."""
    yield ROOT / "README.md"
    for folder in ("pypi_insiders", "systemd", ".github"):
        found = (path for path in (ROOT / folder).rglob("*") if path.is_file())
        yield from sorted(path for path in found if path.suffix in SUFFIXES)


def on_one_line(text: str) -> str:
    """Return a text without the ends of lines, of strings and of comments within a sentence."""
    text = re.sub(r"""(["'])[ \t]*\n\s*[bfr]*\1""", "", text)
    text = re.sub(r"^[ \t]*#+[ \t]?", "", text, flags=re.MULTILINE)
    return " ".join(text.split())


def pattern(phrase: str) -> str:
    """Return the expression that finds a phrase."""
    words = re.escape(phrase).replace("N", r"(?:\d+|%[ds]|\{[^{}]*\})")
    # At an end that is no letter, any character may follow.
    return rf"(?<!\w){words}" + (r"(?!\w)" if phrase[-1].isalnum() and phrase[-1] != "N" else "")


def found_in(text: str) -> list[str]:
    """Return the phrases that a text has."""
    line = on_one_line(text).casefold()
    # A plain search first: hundreds of files by dozens of expressions take half a minute.
    phrases = [
        phrase
        for phrase in PHRASES.strip().splitlines()
        if max(phrase.split("N"), key=len).casefold() in line
    ]
    return [phrase for phrase in phrases if re.search(pattern(phrase), line, re.IGNORECASE)]


def test_no_phrase_is_left() -> None:
    left = {str(path.relative_to(ROOT)): found_in(path.read_text()) for path in texts()}
    assert {path: phrases for path, phrases in left.items() if phrases} == {}


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("  # a link that is\n  # not there", "is not there"),
        ('message = (\n    f"{path} is "\n    "not there"\n)', "is not there"),
        ("Repositories whose host is out\nof reach.", "out of reach"),
        ('f"{len(all)} checked, {len(new)} files published"', "N checked, N"),
        ('"it has %d tags", number', "it has N tags"),
        ("3 checked, 0 files published", "N checked, N"),
        ('f"not watched: {name}"', "not watched: N"),
        ("For Whoever asks.", "whoever"),
        ("-v: tell every\n  step.", "Tell every step"),
    ],
)
def test_a_phrase_is_found_however_it_is_written(text: str, phrase: str) -> None:
    """Broken over lines, in two strings, with its numbers to be filled in."""
    assert found_in(text) == [phrase]


@pytest.mark.parametrize(
    "text", ["an installation is thereby complete", "a stale cache", "Nowhere"]
)
def test_other_words_are_no_phrase(text: str) -> None:
    assert found_in(text) == []


def test_every_kind_of_text_is_read() -> None:
    """Pages, templates, units and workflows too."""
    kinds = {path.suffix for path in texts()}
    assert kinds >= {".py", ".md", ".html", ".socket", ".in", ".yml"}
