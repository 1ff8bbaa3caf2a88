"""An index that has something of all that the pages for people can show."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fixtures import Person, start_command
from wheels import sdist, wheel

from pypi_insiders.index import distribution
from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.public_versions import Public
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, Failure, RepositoryState
from pypi_insiders.util.files import sha256

DAY_S = 86400
BUILT_AT = 1_790_000_000
"""2026-09-21 14:13:20 UTC."""
THEME, HOSTILE = "theme", "hostile"
COMMIT = "9f2c61d0b3a84e5f7c1d2e3f4a5b6c7d8e9f0a1b"
OLD_COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
REQUIREMENTS = {"hatchling": "1.27.0", "packaging": "26.3", "pathspec": "0.12.1"}
MARKUP = "<img src=x onerror=document.title=1><script>document.title=2</script>'\"&amp;{{7*7}}"
README = """\
# Theme

[![Built](https://badges.example/built.svg)](https://ci.example/theme)
![A picture of the theme](https://pictures.example/theme.png)

A theme with **Insiders** features, see [usage](#usage) or [the manual](docs/manual.md).

## Usage

```python
import theme
print(theme.VERSION < "2")
```

| feature | since | what it does, in so many words that a telephone cannot show them |
|---|--:|---|
| search | 1.0 | finds |
| cards | 4.52.0 | social_cards_with_a_name_that_does_not_break_anywhere_at_all_because_it_is_long |

- [x] done
- [ ] to do
"""
EVIL = """\
# Evil <script>document.title = "script"</script>

<img src="https://evil.example/i.png" onerror="document.title='onerror'" onload="document.title=3">
<a href="javascript:document.title='javascript'" id="click">click me</a>
<a href="data:text/html,<script>alert(1)</script>">data</a> <a href="/simple/">in</a>
<a href="//evil.example/x">slashes</a> <a href="vbscript:x">vb</a>
<style>body { display: none } @import "https://evil.example/s.css";</style>
<link rel="stylesheet" href="https://evil.example/s.css">
<div style="position: fixed; inset: 0; background: url(https://evil.example/b.png)">over</div>
<div class="notes attention" data-copy="x" onclick="document.title='onclick'">class</div>
<iframe src="https://evil.example/"></iframe><object data="https://evil.example/o"></object>
<embed src="https://evil.example/e"><video src="https://evil.example/v" autoplay></video>
<svg onload="document.title='svg'"><a xlink:href="javascript:1"><text>t</text></a></svg>
<math><mtext><table><mglyph><style><img src=x onerror="document.title='mxss'"></style></mglyph>
</table></mtext></math>
<form action="https://evil.example/f"><input name="q"><button>send</button></form>
<meta http-equiv="refresh" content="0;url=https://evil.example/">
<base href="https://evil.example/">
<p id="said">clobbered</p><p id="main">clobbered</p><img name="getElementById" src="x">
<form id="getSelection"></form><textarea></main></body></textarea><title>evil</title>
<noscript><p title="</noscript><img src=x onerror=document.title='noscript'>"></noscript>
<picture><source srcset="https://evil.example/p.png"><img src="https://evil.example/p2.png"></picture>

</div></section></main></body></html>

![x](https://evil.example/"onerror="document.title=4) [y](javascript:document.title=5)
"""


def furnish(person: Person) -> None:
    """Put everything into an empty home."""
    directory = person.paths.distributions
    markdown = ("Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM",)
    described = ("Summary: A theme, with Insiders features", "Requires-Python: >=3.9",
                 "Project-URL: Documentation, https://theme.example/",
                 "License-Expression: MIT", "Author-email: Martin <martin@theme.example>",
                 "Keywords: docs,theme", "Requires-Dist: click>=8",
                 "Requires-Dist: rich>=13; extra == 'cli'",
                 "Project-URL: Wrong, javascript:alert(1)", *markdown, "", README)  # fmt: skip
    new = wheel(directory, THEME, "9.5.3+insiders.4.52.0", *described)
    new_source = sdist(directory, THEME, "9.5.3+insiders.4.52.0", *described, content=b"x" * 70000)
    old = wheel(directory, THEME, "9.5.2+insiders.4.51.0", *described)
    bad = wheel(directory, THEME, "9.5.2+insiders.4.50.0", *described)
    tool = wheel(
        directory,
        "static-analyser",
        "0.4.1",
        "Summary: Finds what is wrong",
        "Requires-Python: >=3.11",
    )
    wheel(
        directory,
        "by-hand",
        "1.0",
        "Summary: Put there by hand",
        "",
        "By hand\n=======\n\n* one\n* two",
    )
    evil = wheel(directory, HOSTILE, "1.0", f"Summary: {MARKUP}", *markdown, "", EVIL)
    YANKED.save(
        directory,
        {THEME: {"9.5.2+insiders.4.50.0": "it broke the search"}, HOSTILE: {"1.0": MARKUP}},
    )
    watched = [
        Repository("squidfunk/theme-insiders", THEME),
        Repository(
            "me/static-analyser", "static-analyser", "https://git.example/me/static-analyser.git"
        ),
        Repository("me/new-one"),
        Repository("me/hostile", HOSTILE, "https://git.example/hostile.git"),
    ]
    registry.save(person.paths.repositories, watched)
    theme, analyser, fresh, hostile = watched
    _save(
        person,
        theme,
        [
            _build("9.5.2-insiders-4.50.0", BUILT_AT - 50 * DAY_S, bad),
            _build("9.5.2-insiders-4.51.0", BUILT_AT - 30 * DAY_S, old)._replace(commit=OLD_COMMIT),
            _build("9.5.3-insiders-4.52.0", BUILT_AT, new, new_source)._replace(
                message="Cards\n\n- <b>social</b> cards",
            ),
        ],
    )
    failure = Failure(
        COMMIT,
        "the build failed: no module named 'setuptools_rust' in the environment",
        3,
        BUILT_AT + DAY_S,
        BUILT_AT + 2 * DAY_S,
    )
    _save(person, analyser, [_build("v0.4.1", BUILT_AT - 3 * DAY_S, tool)], {"v0.5.0": failure})
    _save(person, hostile, [_build(MARKUP, BUILT_AT, evil)])
    checked_at = BUILT_AT + DAY_S
    state.save_checks(
        person.paths.state,
        {
            theme.name: Check(checked_at),
            analyser.name: Check(
                checked_at,
                warnings=["tag v0.3.0 has moved from 9f2c61d0b to 1a2b3c4d5 since it was built"],
            ),
            fresh.name: Check(
                None, checked_at - DAY_S, ["no access: the host does not accept the credentials"]
            ),
            hostile.name: Check(checked_at, errors=[MARKUP]),
        },
    )
    told = {
        THEME: Public("https://pypi.example/simple/theme/", checked_at, final="9.5.2"),
        "static-analyser": Public(
            "https://pypi.example/simple/static-analyser/", checked_at, final="0.5.0"
        ),
        HOSTILE: Public("https://pypi.example/simple/hostile/", checked_at),
    }
    (person.paths.state / "public.json").write_text(
        json.dumps({name: item._asdict() for name, item in told.items()})
    )


def _build(tag: str, built_at: int, *paths: Path) -> Build:
    files = {path.name: sha256(path) for path in paths}
    _, version = distribution.release_of(paths[0].name)
    return Build(tag, COMMIT, str(version), built_at, files,
                 REQUIREMENTS, sandboxed=True)  # fmt: skip


def _save(
    person: Person,
    item: Repository,
    builds: list[Build],
    failures: dict[str, Failure] | None = None,
) -> None:
    known = RepositoryState(item.project, builds, item.remote, failures=failures or {})
    state.save(person.paths.state, item.name, known)


@contextmanager
def serving(person: Person, *options: str | Path) -> Iterator[str]:
    """Run the index of a home until the end of the block; give its URL up to the port."""
    command = ("server", "run", "--port", "0", *options)
    with start_command(command, person.environment) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.endswith("/simple/\n"), line
            yield line.removesuffix("/simple/\n")
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
