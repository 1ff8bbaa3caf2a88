"""web.code_spans: commands between backticks, and all else as text."""

import pytest

from pypi_insiders.server.web import code_spans


@pytest.mark.parametrize(
    ("text", "html", "copied"),
    [
        ("plain & <b>", "plain &amp; &lt;b&gt;", None),
        (
            "`pypi-insiders show a/b`, or `x`",
            "<code>pypi-insiders show a/b</code>, or <code>x</code>",
            '<code data-copy="pypi-insiders show a/b">pypi-insiders show a/b</code>, '
            "or <code>x</code>",
        ),
        (
            '`git "<i>"`',
            "<code>git &quot;&lt;i&gt;&quot;</code>",
            '<code data-copy="git &quot;&lt;i&gt;&quot;">git &quot;&lt;i&gt;&quot;</code>',
        ),
        ("one ` alone, `two`", "one <code> alone, </code>two`", None),
        ("``", "``", None),
        ("`a\nb`", "`a\nb`", None),
        ("`\u202eab\x1b[31m`", "<code>?ab</code>", None),
    ],
)
def test_spans_become_code(text: str, html: str, copied: str | None) -> None:
    """Only what is a command can be copied."""
    assert code_spans.html(text) == html
    assert code_spans.html(text, has_copy=True) == (copied or html)
