"""The pages for people, as a browser shows them."""

import http.client
import itertools
import re
import shutil
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
from axe_playwright_python.sync_playwright import Axe
from fixtures import Person, free_port, need
from githost import make_certificate
from nginx import running
from playwright.sync_api import Browser, Locator, Page, Response, sync_playwright
from showroom import (
    BUILT_AT,
    COMMIT,
    DAY_S,
    HOSTILE,
    MARKUP,
    OLD_COMMIT,
    THEME,
    furnish,
    serving,
)
from wheels import sdist, wheel

from pypi_insiders.config import passwords
from pypi_insiders.repositories import registry, state
from pypi_insiders.repositories.repository import Repository
from pypi_insiders.repositories.state import Build, Check, RepositoryState
from pypi_insiders.util.files import sha256
from pypi_insiders.util.formatting import size

ELSEWHERE = "packages.example"
OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]
PATHS = ("/", f"/project/{THEME}/", f"/project/{HOSTILE}/", "/project/by-hand/")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MARKDOWN = "Description-Content-Type: text/markdown"


# --- the index, and who visits it ---


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Somebody whose index no test changes."""
    person = Person(tmp_path_factory.mktemp("owner"))
    furnish(person)
    person.paths.config.mkdir(parents=True, exist_ok=True)
    person.paths.settings.write_text(f'[server]\nnames = ["{ELSEWHERE}"]\n')
    return person


@pytest.fixture(scope="module")
def index(owner: Person) -> Iterator[str]:
    """Its URL up to the port."""
    with serving(owner) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, without a window."""
    program = need("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


class Window:
    """A page for each way to set up a browser, which shows one thing after another.

    A new context, and even a new page, is a new process, which takes half a second to start.
    Nothing is left for the next visitor, as what the index shows sets no cookie and stores nothing.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._pages: dict[str, Page] = {}

    def page(self, options: dict[str, Any]) -> Page:
        """Return the empty page of a context with these options."""
        if (key := repr(options)) not in self._pages:
            self._pages[key] = self._browser.new_context(**options).new_page()
        page = self._pages[key]
        page.goto("about:blank")
        page.emulate_media(color_scheme="light")
        return page


@pytest.fixture(scope="module")
def window(browser: Browser) -> Window:
    """What all visitors look through."""
    return Window(browser)


@dataclass
class Visitor:
    """Somebody with a browser, in which everything that goes wrong is noted."""

    window: Window
    listening: list[tuple[Page, Any, Callable[[Any], object]]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    visited: set[str] = field(default_factory=set)

    def open(self, url: str, width: int = 1200, **options: Any) -> Page:
        """Load a page; what the same browser showed before is gone."""
        self.stop_listening()
        page = self.window.page(options)
        page.set_viewport_size({"width": width, "height": 800})
        for event, note in {
            "console": lambda message: self.troubles.append(message.text),
            "pageerror": lambda error: self.troubles.append(str(error)),
            "dialog": lambda dialog: self.troubles.append(dialog.message),
            "request": lambda request: self.hosts.add(urlsplit(request.url).netloc),
            "requestfailed": lambda request: self.troubles.append(request.url),
            "response": self._answered,
        }.items():
            self.listening.append((page, event, note))
            page.on(event, note)  # type: ignore[call-overload]
        self.visited.add(urlsplit(url).netloc)
        answer = page.goto(url, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200
        return page

    def stop_listening(self) -> None:
        """Note nothing more; no cookie may be left."""
        for page, event, note in self.listening:
            page.remove_listener(event, note)
            assert page.context.cookies() == []
        self.listening.clear()

    def _answered(self, answer: Response) -> None:
        if answer.status >= 400:
            self.troubles.append(f"{answer.status} {answer.url}")


@pytest.fixture
def visitor(window: Window) -> Iterator[Visitor]:
    """A visitor to whom nothing happens: no error, no warning, no request to another host."""
    visitor = Visitor(window)
    yield visitor
    visitor.stop_listening()
    assert visitor.troubles == []
    assert visitor.hosts == visitor.visited


def texts(found: Locator) -> list[str]:
    """Read what is seen, in one line each."""
    return [" ".join(text.split()) for text in found.all_inner_texts()]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def ask(url: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """Ask without a browser."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers=given)
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    body = answer.read().decode()
    connection.close()
    return Answer(answer.status, found, body)


# --- what is told ---


def test_the_front_page_lists_each_project(index: str, visitor: Visitor) -> None:
    """Problems first, then the newest; readable without any script."""
    page = visitor.open(index, java_script_enabled=False)
    host = urlsplit(index).netloc
    assert page.title() == f"Index at {host}"
    assert texts(page.locator("h1, .lead")) == [
        f"Index at {host}",
        "4 projects, 7 files. Repositories were last checked 2026-09-22 14:13 UTC.",
    ]
    assert texts(page.locator("thead th")) == [
        "Project", "Newest", "Published", "Built from", "Fallback index", "Checked"
    ]  # fmt: skip
    found = [texts(row.locator("th, td")) for row in page.locator("tbody tr").all()]
    put_there = found[3].pop(2)
    assert put_there.endswith(" UTC")
    checked, commit = "2026-09-22 14:13 UTC", COMMIT[:9]
    assert found == [
        ["hostile problem", "1.0 yanked", "2026-09-21 14:13 UTC",
         f"me/hostile {MARKUP} {commit}", "", checked],
        ["static-analyser problem", "0.4.1", "2026-09-18 14:13 UTC",
         f"me/static-analyser v0.4.1 {commit}", "0.5.0 newer", checked],
        ["me/new-one problem", "none yet", "", "me/new-one", "", "never"],
        ["by-hand", "1.0", "", "", "not watched"],
        ["theme", "9.5.3+insiders.4.52.0", "2026-09-21 14:13 UTC",
         f"squidfunk/theme-insiders 9.5.3-insiders-4.52.0 {commit}", "9.5.2", checked],
    ]  # fmt: skip


def test_the_front_page_shows_what_is_wrong(index: str, visitor: Visitor) -> None:
    """The first lines of it, and the rest unfolded; commands can be copied."""
    page = visitor.open(index)
    page.locator(".attention summary").click()
    show = "Hint: pypi-insiders show me/"
    found = [text for text in texts(page.locator(".notes li")) if "Warning: server: " not in text]
    assert found == [
        "Problem: me/static-analyser: tag v0.5.0: the build failed: no module named "
        f"'setuptools_rust' in the environment {show}static-analyser Copy",
        "Problem: me/new-one: no release yet: no access: the host does not accept the credentials "
        "Hint: pypi-insiders update me/new-one Copy",
        f"Problem: me/hostile: {MARKUP} {show}hostile Copy",
        "Problem: me/hostile: every release of hostile is yanked "
        "Hint: pypi-insiders unyank hostile VERSION Copy, or publish another release",
        "Warning: me/static-analyser: tag v0.3.0 has moved from 9f2c61d0b to 1a2b3c4d5 since it "
        f"was built {show}static-analyser Copy",
        "Warning: me/new-one: project name unknown; until it is known, installers can get a "
        "public package of that name Hint: pypi-insiders repos set me/new-one "
        "project=PROJECT Copy",
        "Note: me/static-analyser: PyPI has static-analyser 0.5.0, which is newer than 0.4.1 here",
    ]
    links = page.get_by_role("navigation", name="Needs attention").get_by_role("link")
    names = ["static-analyser", "new-one", "hostile", "hostile", "static-analyser", "new-one"]
    assert texts(links) == [f"me/{name}" for name in (*names, "static-analyser")]
    links.nth(0).click()
    assert "static-analyser" in page.locator("tr:target").inner_text()


def test_a_column_that_nothing_fills_is_not_shown(person: Person) -> None:
    """Of files that were copied there are neither tags nor checks."""
    wheel(person.paths.distributions, "probe", "1.0")
    with serving(person) as url:
        body = ask(url, "/").body
    found = re.findall(r'scope="col">([^<]*)<', body)
    assert found == ["Project", "Newest", "Published"]


def test_the_list_is_filtered_and_sorted_in_place(index: str, visitor: Visitor) -> None:
    """By words in any column; what is shown has a URL of its own."""
    page = visitor.open(index)
    names = page.locator("tbody tr:visible th a, tbody tr:visible th:not(:has(a))")
    everything = ["hostile", "static-analyser", "me/new-one problem", "by-hand", "theme"]
    assert texts(names) == everything
    page.get_by_label("Sort by").select_option("name")
    in_order = ["by-hand", "hostile", "me/new-one problem", "static-analyser", "theme"]
    assert texts(names) == in_order
    page.get_by_label("Filter projects").fill("ME/ problem")
    assert texts(names) == in_order[1:4]
    assert page.url == f"{index}/?q=ME%2F+problem&sort=name"
    status = page.get_by_role("status").filter(has_text="3 of 5 projects shown.")
    status.wait_for(state="attached")
    again = visitor.open(page.url)
    assert texts(again.locator("tbody tr:visible th a")) == ["hostile", "static-analyser"]
    assert again.get_by_label("Filter projects").input_value() == "ME/ problem"
    again.get_by_label("Filter projects").fill("no such")
    assert again.get_by_text("No project matches.").is_visible()
    again.get_by_label("Filter projects").press("Enter")
    again.get_by_label("Filter projects").fill("")
    again.get_by_label("Sort by").select_option("newest")
    assert texts(again.locator("tbody th a")) == ["by-hand", "hostile", "theme", "static-analyser"]
    assert again.url == f"{index}/?sort=newest"
    again.get_by_label("Sort by").select_option("problems")
    assert again.url == f"{index}/"


def test_what_to_paste_is_above_a_long_list(person: Person, visitor: Visitor) -> None:
    """200 projects take a line each."""
    for number in range(200):
        wheel(person.paths.distributions, f"probe-{number}", "1.0")
    with serving(person) as url:
        page = visitor.open(url, 1280)
        at = page.locator(".snippet:visible").bounding_box()
        height = page.evaluate("document.documentElement.scrollHeight")
    assert at is not None
    assert at["y"] < 600
    assert height < 200 * 45 + 800


def test_a_projects_page_shows_from_what_it_was_built(
    owner: Person, index: str, visitor: Visitor
) -> None:
    """And what its files are; readable without any script."""
    page = visitor.open(f"{index}/project/{THEME}/", java_script_enabled=False)
    assert page.title() == f"{THEME} 9.5.3+insiders.4.52.0"
    assert texts(page.locator("h1, .lead")) == [
        "theme 9.5.3+insiders.4.52.0",
        "A theme, with Insiders features",
    ]
    assert texts(page.locator(".about dl > div")) == [
        "Repository squidfunk/theme-insiders",
        "Python >=3.9",
        "Licence MIT",
        "Author Martin <martin@theme.example>",
        "Keywords docs, theme",
        "Links Documentation",
        "Dependencies click>=8 rich>=13; extra == 'cli'",
        "Checked 2026-09-22 14:13 UTC",
        "Fallback index 9.5.2",
        "Feed Atom feed of releases",
    ]
    newest = page.locator("article")
    assert texts(newest.locator("h3, .mark, .message, .facts div")) == [
        "9.5.3+insiders.4.52.0",
        "latest",
        "Cards - <b>social</b> cards",
        "Repository squidfunk/theme-insiders",
        "Tag 9.5.3-insiders-4.52.0",
        f"Commit {COMMIT}",
        "Changes compare with 9.5.2+insiders.4.51.0",
        "Built 2026-09-21 14:13 UTC, in a sandbox",
        "Python >=3.9",
    ]
    names = ("theme-9.5.3+insiders.4.52.0-py3-none-any.whl", "theme-9.5.3+insiders.4.52.0.tar.gz")
    paths = [owner.paths.distributions / name for name in names]
    found = texts(newest.locator("tbody tr"))
    assert found == [
        f"{path.name} {sha256(path)} {size(path.stat().st_size)} 2026-09-21 14:13 UTC"
        for path in paths
    ]
    newest.locator("summary").click()
    assert texts(newest.locator(".plain li")) == [
        "hatchling 1.27.0", "packaging 26.3", "pathspec 0.12.1"
    ]  # fmt: skip
    older = page.locator("details.release")
    assert texts(older.locator("> summary")) == [
        "9.5.2+insiders.4.51.0 2026-08-22 14:13 UTC",
        "9.5.2+insiders.4.50.0 yanked 2026-08-02 14:13 UTC",
    ]
    older.nth(1).locator("> summary").click()
    assert texts(older.nth(1).locator(".facts div"))[0] == "Yanked it broke the search"


def test_tag_and_commit_lead_to_the_host(index: str, visitor: Visitor) -> None:
    """And nothing is loaded from there; a host whose pages are not known has no link."""
    page = visitor.open(f"{index}/project/{THEME}/")
    links = page.locator("article .facts a")
    found = links.evaluate_all("found => found.map(a => [a.href, a.rel])")
    host = "https://github.com/squidfunk/theme-insiders"
    assert [url for url, _ in found] == [
        host,
        f"{host}/releases/tag/9.5.3-insiders-4.52.0",
        f"{host}/commit/{COMMIT}",
        f"{host}/compare/{OLD_COMMIT}...{COMMIT}",
    ]
    assert {rel for _, rel in found} == {"noopener nofollow noreferrer"}
    page = visitor.open(index)
    origin = page.locator("tr", has_text=THEME).locator(".origin a")
    assert origin.evaluate_all("found => found.map(a => a.href)") == [
        host, f"{host}/releases/tag/9.5.3-insiders-4.52.0", f"{host}/commit/{COMMIT}"
    ]  # fmt: skip
    assert page.locator("tr", has_text="static-analyser").locator(".origin a").count() == 0


@pytest.mark.parametrize("script", [True, False])
def test_each_release_has_a_place_of_its_own(index: str, visitor: Visitor, script: bool) -> None:
    """By its version; one that is folded up is unfolded."""
    old = "9.5.2+insiders.4.51.0"
    page = visitor.open(f"{index}/project/{THEME}/#{old}", java_script_enabled=script)
    assert page.locator("details.release[open]").count() == 1
    assert texts(page.locator("details.release[open] summary h3")) == [old]
    page = visitor.open(index, java_script_enabled=script)
    page.locator("a", has_text="9.5.3+insiders.4.52.0").click()
    page.wait_for_url(f"{index}/project/{THEME}/#9.5.3+insiders.4.52.0")
    assert page.locator("article:target").count() == 1


def test_a_file_can_be_downloaded_from_its_page(
    owner: Person, index: str, visitor: Visitor
) -> None:
    page = visitor.open(f"{index}/project/{THEME}/")
    link = page.get_by_role("link", name="tar.gz").evaluate("link => link.href")
    content = page.request.get(link).body()
    (path,) = owner.paths.distributions.glob("theme-*.tar.gz")
    assert content == path.read_bytes()


def test_a_readme_is_rendered_and_asks_no_other_host(index: str, visitor: Visitor) -> None:
    """Pictures become links, and the headings go on from those of the page."""
    page = visitor.open(f"{index}/project/{THEME}/")
    readme = page.locator(".readme")
    assert texts(readme.locator("h3, h4")) == ["Theme", "Usage"]
    assert texts(readme.locator("pre")) == ['import theme print(theme.VERSION < "2")']
    assert texts(readme.locator("li")) == ["☑ done", "☐ to do"]
    assert texts(readme.locator("tr").first.locator("th"))[:2] == ["feature", "since"]
    links = [(link.inner_text(), link.get_attribute("href")) for link in readme.locator("a").all()]
    assert links == [
        ("Built", "https://ci.example/theme"),
        ("A picture of the theme", "https://pictures.example/theme.png"),
        ("usage", "#readme-user-content-usage"),
        ("the manual", None),
    ]
    readme.get_by_role("link", name="usage").click()
    assert texts(page.locator(":target")) == ["Usage"]


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (("", "By hand\n=======\n\n* one\n\n.. image:: https://p.example/x.png\n   :alt: seen"),
         "<h3>By hand</h3>"),
        (("Description-Content-Type: text/plain", "", "<b>as</b> it *is*"),
         "<pre>&lt;b&gt;as&lt;/b&gt; it *is*</pre>"),
        (("Description-Content-Type: text/x-rst", "", "Broken\n===\n\n.. raw:: html\n\n   <b>"),
         "<pre>Broken\n===\n\n.. raw:: html\n\n   &lt;b&gt;</pre>"),
        (("Description-Content-Type: application/x-none", "", "<i>"), "<pre>&lt;i&gt;</pre>"),
        ((MARKDOWN, "", "*a* <i>b</i>"), "<p><em>a</em> <i>b</i></p>"),
        ((f"{MARKDOWN}; variant=CommonMark", "", "~~a~~"), "<p>~~a~~</p>"),
    ],
)  # fmt: skip
def test_a_readme_is_shown_in_its_own_form(
    person: Person, lines: tuple[str, ...], shown: str
) -> None:
    """One that is not what it says it is, as text."""
    sdist(person.paths.distributions, "probe", "1.0", *lines)
    with serving(person) as url:
        assert shown in ask(url, "/project/probe/").body


# --- what is foreign ---


def test_a_hostile_readme_does_nothing(index: str, visitor: Visitor) -> None:
    """It neither runs, nor asks, nor hides, nor takes names that the page uses."""
    page = visitor.open(f"{index}/project/{HOSTILE}/")
    readme = page.locator(".readme")
    wanted = "script, style, iframe, object, embed, svg, math, form, input, button, meta, base, "
    wanted += "link, img, video, picture, textarea, noscript, [style], [class], [data-copy]"
    assert readme.locator(wanted).count() == 0
    attributes = readme.evaluate(
        "readme => [...readme.querySelectorAll('*')].flatMap(found => found.getAttributeNames())"
    )
    assert set(attributes) <= {"href", "id", "rel"}
    links = readme.locator("a[href]").evaluate_all("found => found.map(a => [a.href, a.rel])")
    assert [url for url, _ in links] == [
        "https://evil.example/i.png",
        "https://evil.example/p2.png",
        "https://evil.example/%22onerror=%22document.title=4",
    ]
    assert {rel for _, rel in links} == {"noopener nofollow noreferrer"}
    found = readme.locator("[id]").evaluate_all("found => found.map(e => e.id)")
    assert all(name.startswith("readme-") for name in found)
    for dead in ("click me", "data", "vb", "over", "class"):
        readme.get_by_text(dead, exact=True).first.click()
    assert page.title() == f"{HOSTILE} 1.0"
    assert page.url == f"{index}/project/{HOSTILE}/"
    assert page.locator("footer").is_visible()
    page.get_by_role("button", name="Copy the lines for pip").click()
    page.locator("#said").filter(has_text="the lines for pip").wait_for(state="attached")


def test_names_and_reasons_are_shown_as_they_are(index: str, visitor: Visitor) -> None:
    """Tags, errors, reasons and summaries hold what a browser would run."""
    page = visitor.open(f"{index}/project/{HOSTILE}/")
    shown = page.locator(".lead, main > .notes li, article .facts dd").all_inner_texts()
    assert shown[0] == MARKUP
    assert shown[1].startswith(f"Problem: me/hostile: {MARKUP}\n")
    assert shown.count(MARKUP) == 3
    assert page.title() == f"{HOSTILE} 1.0"


def test_what_turns_text_around_is_not_shown(person: Person) -> None:
    """In a summary and in the name of a tag, as other control characters."""
    item = Repository("me/probe", "probe")
    registry.save(person.paths.repositories, [item])
    person.paths.distributions.mkdir(parents=True)
    file = wheel(person.paths.distributions, "probe", "1.0", "Summary: be\u202egin\u2066\x1b[31m")
    files = {file.name: sha256(file)}
    build = Build("v1.0\u202e", COMMIT, "1.0", BUILT_AT, files)
    state.save(person.paths.state, item.name, RepositoryState("probe", [build], item.remote))
    with serving(person) as url:
        bodies = [ask(url, path).body for path in ("/", "/project/probe/")]
    assert "be?gin?" in bodies[1]
    assert "v1.0?" in bodies[0]
    assert "v1.0?" in bodies[1]
    assert not {"\u202e", "\u2066", "\x1b"} & set("".join(bodies))


LONG = (MARKDOWN, "", "word " * 400_000)
# It is nine to the power of forty words.
TIMES_NINE = [f".. |a{n}| replace:: {f'|a{n + 1}| ' * 9}" for n in range(40)]
ENDLESS = ("", *TIMES_NINE, ".. |a40| replace:: x", "", "|a0|")
IT_IS_LONG = "The README is very long; this is its start."
IT_IS_ENDLESS = "The README cannot be rendered."
WAIT = "Another README is being rendered; reload this page."


def test_a_readme_has_little_room(person: Person) -> None:
    """However long it is, the page comes."""
    wheel(person.paths.distributions, "probe", "1.0", *LONG)
    with serving(person) as url:
        answer = ask(url, "/project/probe/")
        assert ask(url, "/project/probe/").body == answer.body
    assert (answer.status, f"<p>{IT_IS_LONG}</p>" in answer.body) == (200, True)
    assert len(answer.body) < 1_000_000


def test_a_readme_has_little_time(person: Person) -> None:
    """While one is rendered, who asks for another one is told to come again.

    The page comes without it, and once that is known it comes at once.
    """
    for number in range(3):
        wheel(person.paths.distributions, f"probe-{number}", "1.0", *ENDLESS)
    with serving(person) as url, ThreadPoolExecutor(3) as pool:
        paths = [f"/project/probe-{number}/" for number in range(3)]
        bodies = {
            path: answer.body
            for path, answer in zip(paths, pool.map(partial(ask, url), paths), strict=True)
        }
        (endless,) = (path for path, body in bodies.items() if f"<p>{IT_IS_ENDLESS}</p>" in body)
        begun_s = time.monotonic()
        assert ask(url, endless).body == bodies[endless]
        assert time.monotonic() - begun_s < 5  # each rendering takes so long of a processor
    found = re.findall(r"<p>(The README .*|Another .*)</p>", "".join(bodies.values()))
    assert sorted(found) == [WAIT, WAIT, IT_IS_ENDLESS]


# --- copying ---


def test_copying_puts_the_lines_into_the_clipboard(index: str, visitor: Visitor) -> None:
    """Each button what it says, and a message confirms it."""
    for path, tabs in (("/", 5), (PATHS[1], 4)):
        granted = ["clipboard-read", "clipboard-write"]
        page = visitor.open(f"{index}{path}", permissions=granted)
        page.locator("details").evaluate_all("found => found.forEach(e => e.open = true)")
        pressed = 0
        for label in page.locator(".tabs label").all():
            label.click()
            pressed += _press(page, page.locator(".snippet:visible button"))
        for button in page.locator(":not(.snippet) > button").all():
            pressed += _press(page, button)
        assert pressed == page.locator("[data-copy]").count() > 2 * tabs


def _press(page: Page, button: Locator) -> int:
    what = str(button.get_attribute("aria-label")).removeprefix("Copy ")
    text = page.locator(f'[data-copy="{what}"]').first.inner_text()
    button.click()
    page.get_by_role("status").filter(has_text=f"Copied {what}.").wait_for(state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == text
    return 1


def test_without_a_clipboard_the_lines_are_selected(index: str, visitor: Visitor) -> None:
    """Over plain http, browsers have none for other hosts."""
    host = f"{ELSEWHERE}:{urlsplit(index).port}"
    page = visitor.open(f"http://{host}/")
    assert page.locator('[data-copy="the lines for Shell"]').inner_text() == (
        f"export PIP_INDEX_URL=http://{host}/simple/\n"
        f"export UV_DEFAULT_INDEX=http://{host}/simple/\n"
        f"export PDM_PYPI_URL=http://{host}/simple/\n"
        f"export PIP_TRUSTED_HOST={host}"
    )
    assert page.evaluate("navigator.clipboard === undefined")
    page.locator("label", has_text="uv").click()
    page.get_by_role("button", name="Copy the lines for uv").click()
    said = "Selected the lines for uv: press Ctrl+C to copy."
    page.get_by_role("status").filter(has_text=said).wait_for(state="attached")
    selected = page.evaluate("getSelection().toString()")
    assert selected == page.locator('[data-copy="the lines for uv"]').inner_text()


def test_without_script_there_is_nothing_to_press(index: str, visitor: Visitor) -> None:
    page = visitor.open(index, java_script_enabled=False)
    assert page.locator("button, input:visible:not([type=radio]), select:visible").count() == 0
    for label in page.locator(".tabs label").all():
        label.click()
        assert page.locator("pre:visible").count() == 1


# --- for everybody ---


@pytest.mark.parametrize("path", PATHS)
def test_axe_finds_nothing(index: str, visitor: Visitor, path: str) -> None:
    """Contrast, names, roles, headings, landmarks: also in what is folded up."""
    page = visitor.open(f"{index}{path}")
    page.locator("details").evaluate_all("found => found.forEach(e => e.open = true)")
    for width, is_dark in itertools.product((1200, 360), (False, True)):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme="dark" if is_dark else "light")
        found = Axe().run(page).response["violations"]
        assert [(item["id"], item["impact"], item["nodes"][0]["html"]) for item in found] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_telephone_shows_the_whole_width(index: str, visitor: Visitor, path: str) -> None:
    """Nothing but a table of a README is wider, which scrolls within its own box."""
    page = visitor.open(f"{index}{path}", 360)
    page.locator("details").evaluate_all("found => found.forEach(e => e.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    wide = page.locator("body *:not(.hidden, .hidden *, .skip, .scroll *, thead, thead *)")
    assert wide.evaluate_all(
        "found => found.filter(e => e.getBoundingClientRect().right > 360).map(e => e.outerHTML)"
    ) == []  # fmt: skip


@pytest.mark.parametrize("path", PATHS[:3])
def test_the_keyboard_reaches_everything(index: str, visitor: Visitor, path: str) -> None:
    """In the order in which it stands, and each shows that it is there."""
    page = visitor.open(f"{index}{path}")
    kinds = 'a[href], button, summary, [tabindex="0"], input:not([type=radio]), select, :checked'
    wanted = page.locator(f":is({kinds}):not(option)").evaluate_all(
        "found => found.filter(e => e.checkVisibility()).map(e => e.outerHTML)"
    )
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        html, outline = page.evaluate(
            "(found => [found.outerHTML, getComputedStyle(found).outline])(document.activeElement)"
        )
        reached.append(html)
        assert outline.endswith("solid 3px")
    assert reached == wanted


def test_the_first_key_leads_to_the_content(index: str, visitor: Visitor) -> None:
    page = visitor.open(index)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


# --- what is sent ---


def test_pages_are_kept_as_long_as_they_are_true(person: Person) -> None:
    """Once for all visitors; a look at the repositories that changes nothing else is seen."""
    furnish(person)
    path = f"/project/{THEME}/"
    with serving(person) as url:
        for at in ("/", path):
            before = ask(url, at)
            again = ask(url, at, if_none_match=before.headers["etag"])
            assert (again.status, again.body) == (304, "")
        state.save_checks(
            person.paths.state, {"squidfunk/theme-insiders": Check(BUILT_AT + 9 * DAY_S)}
        )
        for at in ("/", path):
            assert "2026-09-30 14:13 UTC" in ask(url, at).body
        wheel(person.paths.distributions, THEME, "9.6.0+insiders.1")
        for at in ("/", path):
            assert "9.6.0+insiders.1" in ask(url, at).body


def test_what_cannot_be_read_is_said(person: Person) -> None:
    """The rest is shown."""
    furnish(person)
    with serving(person) as url:
        person.paths.repositories.write_text("[")
        answer = ask(url, "/")
        assert (answer.status, "repos.toml" in answer.body) == (200, True)
        assert 'href="project/theme/"' in answer.body
        kept = person.paths.state / "repositories/squidfunk/theme-insiders.json"
        kept.write_text("{")
        kept.rename(kept.with_suffix(".new"))
        kept.with_suffix(".new").rename(kept)
        answer = ask(url, f"/project/{THEME}/")
    assert "9.5.3-insiders-4.52.0" in answer.body


def test_another_directory_has_nothing_that_is_watched(person: Person, tmp_path: Path) -> None:
    """What is watched is published to the usual one."""
    furnish(person)
    directory = tmp_path / "other"
    shutil.copytree(person.paths.distributions, directory)
    with serving(person, "--dist-dir", directory) as url:
        body = ask(url, "/").body
    assert "Checked" not in body
    assert "9.5.3-insiders-4.52.0" in body


def test_what_another_index_has_is_told_too(person: Person) -> None:
    """Where nothing is published here."""
    item = Repository("me/probe", "probe")
    registry.save(person.paths.repositories, [item])
    build = Build("v2.0", COMMIT, "2.0", BUILT_AT, {}, uploaded_to=["https://there.example/"])
    known = RepositoryState("probe", [build], item.remote)
    state.save(person.paths.state, item.name, known)
    with serving(person) as url:
        body = ask(url, "/").body
    row = re.sub(r"<[^>]+>|\s+", " ", body.partition("<tbody")[2].partition("</tbody>")[0])
    assert row.split()[1:] == [
        "probe", "problem", "2.0", "on", "another", "index", "only",
        "2026-09-21", "14:13", "UTC", "me/probe", "v2.0", COMMIT[:9],
    ]  # fmt: skip


def test_a_project_of_which_nothing_is_served_says_so(person: Person) -> None:
    person.paths.distributions.mkdir(parents=True)
    (person.paths.distributions / "broken-1.0.tar.gz").write_bytes(b"x")
    with serving(person) as url:
        body = ask(url, "/project/broken/").body
    assert "None of its files can be served; <code>pypi-insiders server logs</code>" in body


def test_a_watched_project_without_files_says_why(person: Person) -> None:
    """Its address is never merely not found."""
    person.run("repos", "add", "--no-check", "me/probe:probe")
    with serving(person) as url:
        answer = ask(url, "/project/probe/")
    reason = "me/probe: probe has no release yet: me/probe was never built"
    assert (answer.status, answer.body.splitlines()[0]) == (409, reason)


def test_an_empty_index_says_what_to_do(person: Person) -> None:
    with serving(person) as url:
        assert ">pypi-insiders repos add NS/PROJ</code>" in ask(url, "/").body


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/project/My_Theme/", 301, "../my-theme/"),
        ("/project/theme", 301, "theme/"),
        ("/project/", 404, None),
        ("/project/no-such/", 404, None),
        ("/project/theme/x/", 409, None),
        ("/project/%3Cb%3E/", 404, None),
        ("/-/", 404, None),
        ("/-/../style.css", 404, None),
        ("/-/none.css", 404, None),
        ("/insiders/", 301, "../insiders/simple/"),
        ("/insiders/project/theme/", 409, None),
        ("/insiders/-/style.css", 404, None),
    ],
)
def test_other_addresses(index: str, path: str, status: int, location: str | None) -> None:
    answer = ask(index, path)
    assert (answer.status, answer.headers.get("location")) == (status, location)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/project/theme/", "text/html; charset=utf-8"),
        ("/-/icon.svg", "image/svg+xml"),
        ("/-/script.js", "text/javascript; charset=utf-8"),
        ("/-/style.css", "text/css; charset=utf-8"),
    ],
)
def test_headers(index: str, path: str, media_type: str) -> None:
    answer = ask(index, path)
    etag, length = answer.headers["etag"], str(len(answer.body.encode()))
    expected = {
        "cache-control": "no-cache",
        "content-length": length,
        "content-security-policy": POLICY,
        "content-type": media_type,
        "cross-origin-resource-policy": "same-origin",
        "etag": etag,
        "referrer-policy": "no-referrer",
        "vary": "Sec-Fetch-Site, X-Forwarded-Prefix",
        "x-content-type-options": "nosniff",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert ask(index, path, "HEAD").body == ""
    assert ask(index, path, if_match='"other"').status == 412


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://127.0.0.1:{port}"),
        ({"host": "localhost:1"}, "http://127.0.0.1:1"),
        ({"host": "localhost:1", "sec_fetch_site": "none"}, "http://127.0.0.1:1"),
        ({"host": "[::1]:1"}, "http://127.0.0.1:1"),
        ({"host": "a.localhost"}, None),
        ({"host": ELSEWHERE}, f"http://{ELSEWHERE}"),
        ({"host": ELSEWHERE, "sec_fetch_site": "none"}, f"https://{ELSEWHERE}"),
        ({"host": ELSEWHERE, "x_forwarded_proto": "https"}, f"http://{ELSEWHERE}"),
        ({"host": ELSEWHERE, "x_forwarded_prefix": "/pypi"}, f"http://{ELSEWHERE}/pypi"),
        ({"host": ELSEWHERE, "x_forwarded_prefix": "/a/b/"}, f"http://{ELSEWHERE}/a/b"),
        ({"host": ELSEWHERE, "x_forwarded_prefix": "//evil"}, f"http://{ELSEWHERE}"),
        ({"host": ELSEWHERE, "x_forwarded_prefix": "/a';id"}, f"http://{ELSEWHERE}"),
    ],
)
def test_the_lines_name_the_url_by_which_it_was_called(
    index: str, headers: dict[str, str], url: str | None
) -> None:
    """A browser tells whether it was https: it says where a request comes from only then.

    This machine has one spelling, whichever was used: in a lock file another one is another index.
    """
    answer = ask(index, "/", **headers)
    if url is None:
        assert answer.status == 421
        return
    url = url.format(port=urlsplit(index).port)
    trust = "" if "127.0.0.1" in url or url.startswith("https") else f"--trusted-host {ELSEWHERE} "
    assert f"export PIP_INDEX_URL={url}/simple/\n" in answer.body
    assert f"export UV_DEFAULT_INDEX={url}/simple/\n" in answer.body
    assert f"export PDM_PYPI_URL={url}/simple/" in answer.body
    assert (f"\nexport PIP_TRUSTED_HOST={ELSEWHERE}</code>" in answer.body) == bool(trust)
    body = ask(index, f"/project/{THEME}/", **headers).body
    assert f"pip install --index-url {url}/simple/ {trust}{THEME}</code>" in body


def test_behind_a_proxy_with_a_path_the_lines_have_it(index: str, visitor: Visitor) -> None:
    """And links, feeds and error pages lead below it."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-proxy-") as name:
        Path(name).chmod(0o755)
        server = (
            f"    listen 127.0.0.1:{port};\n    location /pypi/ {{\n"
            f"      proxy_pass {index}/;\n      proxy_set_header Host $http_host;\n"
            "      proxy_set_header X-Forwarded-Prefix /pypi;\n    }\n"
        )
        with running(Path(name, "run"), server):
            url = f"http://127.0.0.1:{port}/pypi"
            page = visitor.open(f"{url}/")
            assert f"UV_DEFAULT_INDEX={url}/simple/" in page.inner_text(".snippet:visible")
            page.locator("tbody").get_by_role("link", name=THEME, exact=True).click()
            page.wait_for_url(f"{url}/project/{THEME}/", wait_until="networkidle")
            assert f"--index-url {url}/simple/ {THEME}" in page.content()
            feed = page.locator('link[href="releases.atom"]').evaluate("link => link.href")
            assert feed == f"{url}/project/{THEME}/releases.atom"
            assert f"{url}/project/{THEME}/#9.5.3+insiders" in page.request.get(feed).text()
            missing = page.request.get(f"{url}/project/none/", headers=BROWSER)
            assert (missing.status, '<a href="../../">All projects</a>' in missing.text()) == (
                404,
                True,
            )


def test_behind_a_proxy_with_tls_the_lines_say_so(index: str, visitor: Visitor) -> None:
    """Though the index sees plain http, and nobody there whom it could believe."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pypi-insiders-proxy-") as name:
        Path(name).chmod(0o755)
        certificate = make_certificate(Path(name))
        server = (
            f"    listen 127.0.0.1:{port} ssl;\n    ssl_certificate {certificate};\n"
            f"    ssl_certificate_key {certificate};\n    location / {{\n"
            f"      proxy_pass {index};\n      proxy_set_header Host $http_host;\n    }}\n"
        )
        with running(Path(name, "run"), server):
            url = f"https://{ELSEWHERE}:{port}"
            page = visitor.open(f"{url}/", ignore_https_errors=True)
            lines = page.locator('[data-copy="the lines for Shell"]').inner_text()
            names = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "PDM_PYPI_URL")
            assert lines.splitlines() == [f"export {name}={url}/simple/" for name in names]
            page.locator("tbody").get_by_role("link", name=THEME, exact=True).click()
            # Before the proxy ends, the browser has everything it asks for.
            page.wait_for_url(f"{url}/project/{THEME}/", wait_until="networkidle")
            assert f"--index-url {url}/simple/ {THEME}" in page.content()


# --- feeds ---

ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.mark.parametrize(
    ("path", "title", "page", "expected"),
    [
        ("/-/releases.atom", "Releases of {host}", "/",
         {"by-hand 1.0", "hostile 1.0 (yanked)", "static-analyser 0.4.1",
          "theme 9.5.3+insiders.4.52.0", "theme 9.5.2+insiders.4.51.0",
          "theme 9.5.2+insiders.4.50.0 (yanked)"}),
        (f"/project/{THEME}/releases.atom", f"Releases of {THEME}", f"/project/{THEME}/",
         {"theme 9.5.3+insiders.4.52.0", "theme 9.5.2+insiders.4.51.0",
          "theme 9.5.2+insiders.4.50.0 (yanked)"}),
    ],
)  # fmt: skip
def test_releases_are_a_feed(
    index: str, path: str, title: str, page: str, expected: set[str]
) -> None:
    """Newest first, with all that RFC 4287 requires, and found from the pages."""
    answer = ask(index, path)
    assert (answer.status, answer.headers["content-type"]) == (
        200, "application/atom+xml; charset=utf-8"
    )  # fmt: skip
    feed = ElementTree.fromstring(answer.body)
    assert feed.tag == f"{ATOM}feed"
    assert feed.findtext(f"{ATOM}title") == title.format(host=urlsplit(index).netloc)
    entries = feed.findall(f"{ATOM}entry")
    assert {entry.findtext(f"{ATOM}title") for entry in entries} == expected
    for item in (feed, *entries):
        for name in ("id", "title", "updated"):
            assert len(item.findall(f"{ATOM}{name}")) == 1
        updated = item.findtext(f"{ATOM}updated")
        assert updated is not None
        assert datetime.fromisoformat(updated).tzinfo is not None
    ids = [item.findtext(f"{ATOM}id") for item in (feed, *entries)]
    assert len(set(ids)) == len(ids)
    assert all(str(found).startswith("urn:uuid:") for found in ids)
    assert feed.find(f"{ATOM}author/{ATOM}name") is not None
    times = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert times == sorted(times, key=str, reverse=True)
    assert feed.findtext(f"{ATOM}updated") == times[0]
    links = {link.get("rel"): link.get("href") for link in feed.findall(f"{ATOM}link")}
    assert links == {"self": f"{index}{path}", "alternate": f"{index}{page}"}
    (newest,) = [entry for entry in entries if entry.findtext(f"{ATOM}title", "").endswith("52.0")]
    link, content = newest.find(f"{ATOM}link"), newest.findtext(f"{ATOM}content", "")
    assert link is not None
    assert link.get("href") == f"{index}/project/{THEME}/#9.5.3+insiders.4.52.0"
    assert content.startswith("Cards\n\n- <b>social</b> cards\n\nBuilt from squidfunk/")
    assert (
        f'type="application/atom+xml" title="Releases of {THEME}"'
        in ask(index, f"/project/{THEME}/").body
    )
    shown = ask(index, page).body
    assert re.search(r'<link rel="alternate" type="application/atom\+xml" [^>]*href="[^"]*"', shown)


def test_a_feed_of_nothing_is_a_feed(person: Person) -> None:
    """Also whatever a repository calls its tags."""
    with serving(person) as url:
        feed = ElementTree.fromstring(ask(url, "/-/releases.atom").body)
        assert feed.findtext(f"{ATOM}updated") == "1970-01-01T00:00:00Z"
        assert ask(url, "/project/none/releases.atom").status == 404
        file = wheel(person.paths.distributions, "probe", "1.0")
        item = Repository("me/probe", "probe")
        registry.save(person.paths.repositories, [item])
        build = Build("v1]]>\uffff", COMMIT, "1.0", BUILT_AT, {file.name: sha256(file)})
        build = build._replace(message="</content>\x00\u202e&amp;")
        state.save(person.paths.state, item.name, RepositoryState("probe", [build], item.remote))
        feed = ElementTree.fromstring(ask(url, "/project/probe/releases.atom").body)
        content = feed.findtext(f"{ATOM}entry/{ATOM}content", "")
        assert content.startswith("</content>??&amp;\n\nBuilt from me/probe, tag v1]]>?, commit")
        answer = ask(url, "/project/Probe/releases.atom")
        assert (answer.status, answer.headers["location"]) == (301, "../probe/releases.atom")


# --- errors ---

# What Firefox and Chromium ask for.
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PIP = {
    "Accept": "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, "
    "text/html; q=0.01"
}


@pytest.mark.parametrize(
    ("path", "status", "shown"),
    [
        ("/project/no-such/", 404, ["Page not found", "no-such is not a project of this index."]),
        ("/no-such", 404, ["Page not found", "There is no page at /no-such."]),
        ("/project/%3Cb%3E/", 404, ["Page not found", "There is no page at /project/<b>/."]),
        ("/project/theme/x/", 409,
         ["Nothing is served here", "there is no index at /project/theme/x/"]),
        ("/packages/theme-9.9.tar.gz", 410,
         ["File not found", "theme-9.9.tar.gz is not in the index",
          "pypi-insiders status shows all problems"]),
    ],
)  # fmt: skip
def test_a_browser_gets_errors_as_pages(
    index: str, window: Window, path: str, status: int, shown: list[str]
) -> None:
    """With a way back that works from any depth, and that asks for nothing else to be loaded."""
    page = window.page({"viewport": {"width": 360, "height": 700}})
    asked: list[str] = []
    listening: dict[Any, Callable[[Any], None]] = {
        "request": lambda request: asked.append(request.url),
        "console": lambda message: asked.append(message.text),
    }
    for event, note in listening.items():
        page.on(event, note)
    answer = page.goto(f"{index}{path}")
    assert answer is not None
    assert (answer.status, answer.headers["cache-control"]) == (status, "no-store")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    # Nothing else is asked for; that a page failed is what the console says of any such page.
    assert {url for url in asked if "Failed to load resource" not in url} == {page.url}
    found = texts(page.locator("h1, h1 ~ p:not(.ways)"))
    assert found[: len(shown)] == shown
    assert page.evaluate("getComputedStyle(document.body).margin") == "0px"  # it has its style
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert [item["id"] for item in Axe().run(page).response["violations"]] == []
    page.get_by_role("link", name="All projects").click()
    page.wait_for_url(f"{index}/")
    for event, note in listening.items():
        page.remove_listener(event, note)


@pytest.mark.parametrize(
    ("headers", "media_type"),
    [
        (BROWSER, "text/html; charset=utf-8"),
        ({"Accept": "text/html, text/*;q=0.5, image/*"}, "text/html; charset=utf-8"),
        (PIP, "application/problem+json"),
        ({}, "application/problem+json"),
        ({"Accept": "*/*"}, "application/problem+json"),
        ({"Accept": "application/json, text/html;q=0.5"}, "application/problem+json"),
        (PIP | {"User-Agent": "uv/0.13.0"}, "application/problem+json"),
        ({"Accept": "text/html", "User-Agent": "pip/20.0"}, "text/plain; charset=utf-8"),
    ],
)
def test_installers_get_no_pages(index: str, headers: dict[str, str], media_type: str) -> None:
    """They show text and problem details; whatever they accept besides."""
    found = ask(index, "/packages/theme-9.9.tar.gz", **headers).headers["content-type"]
    is_pip = headers.get("User-Agent", "").startswith("pip/")
    assert found == ("application/problem+json" if is_pip else media_type)
    found = ask(index, "/project/theme/x/", **headers).headers["content-type"]
    assert found.startswith(media_type)


def test_a_watched_project_without_release_is_an_error_page(person: Person) -> None:
    """That says what to type."""
    person.run("repos", "add", "--no-check", "me/probe:probe")
    with serving(person) as url:
        for path in (
            "/project/probe/",
            "/simple/probe/",
            "/pypi/probe/json",
            "/pypi/probe/1.0/json",
        ):
            answer = ask(url, path, **BROWSER)
            assert (answer.status, "<h1>Nothing is served here</h1>" in answer.body) == (409, True)
            assert "<code>pypi-insiders update me/probe</code>" in answer.body


def test_an_index_that_cannot_be_read_is_an_error_page(person: Person) -> None:
    """Which brings its own style, and offers to try again."""
    furnish(person)
    with serving(person) as url:
        person.paths.distributions.chmod(0)
        person.paths.distributions.rename(person.paths.distributions.with_name("away"))
        answer = ask(url, "/", **BROWSER)
        text = ask(url, "/").body
        person.paths.distributions.with_name("away").chmod(0o700)
    assert (answer.status, "<h1>The index cannot answer</h1>" in answer.body) == (503, True)
    assert '<a href="">Load this page again</a>' in answer.body
    assert text.startswith('{"type": "about:blank"')


def test_a_private_index_tells_nobody(person: Person) -> None:
    """Neither strangers nor caches."""
    furnish(person)
    person.paths.config.mkdir(parents=True, exist_ok=True)
    person.paths.settings.write_text("[server]\nauth = true\n")
    passwords.save(person.paths.passwords, "reader", "secret")
    known = {"authorization": f"Basic {b64encode(b'reader:secret').decode()}"}
    with serving(person) as url:
        for path in ("/", "/project/theme/", "/project/no-such/", "/-/style.css", "/-/none"):
            answer = ask(url, path)
            assert (answer.status, answer.body) == (401, "a user and a password are required\n")
        answer = ask(url, "/project/theme/", **BROWSER)
        assert (answer.status, "<h1>Password required</h1>" in answer.body) == (401, True)
        assert "theme" not in answer.body
        assert answer.headers["www-authenticate"].startswith("Basic ")
        for path in ("/", "/project/theme/", "/-/style.css"):
            answer = ask(url, path, **known)
            assert answer.headers["cache-control"] == "private, no-cache"
        assert "<code>~/.netrc</code>" in ask(url, "/", **known).body
