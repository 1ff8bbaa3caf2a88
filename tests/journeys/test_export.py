"""The index as plain files: what is written, and what is left alone."""

import json
import os
import re
import resource
import signal
import stat
import subprocess
import urllib.parse
import zipfile
from pathlib import Path

import pytest
import wheels
from exports import PAGES, dists, export, get, live
from fixtures import COMMAND, Person, need, unavailable

from pypi_insiders.index.release_lists import YANKED
from pypi_insiders.server.exporting.directory import export as export_here
from pypi_insiders.util.files import locked

__all__ = ["dists"]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where to export to; nothing is there yet."""
    return tmp_path / "srv/index"


def summary(done: "subprocess.CompletedProcess[str]") -> str:
    """What `export` says in its parentheses."""
    match = re.fullmatch(r"exported \d+ projects?, \d+ files? to \S+ \((.*)\)\n", done.stdout)
    assert match is not None, done.stdout
    return match[1]


def files(directory: Path) -> dict[str, tuple[int, int]]:
    """Name all files, with what tells whether they were touched."""
    found = {}
    for path in directory.rglob("*"):
        if not path.is_dir():
            status = path.lstat()
            found[str(path.relative_to(directory))] = (status.st_ino, status.st_mtime_ns)
    return found


def named(directory: Path) -> set[str]:
    """Name the files to which the pages lead."""
    urls = set()
    for page in directory.glob("simple/*/index.json"):
        urls |= {file["url"] for file in json.loads(page.read_bytes())["files"]}
    return {urllib.parse.unquote(url).removeprefix("../../") for url in urls}


def names(directory: Path) -> list[str]:
    """Name what lies in a directory, sorted; nothing if it is missing."""
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_the_files_are_what_the_live_index_gives(person: Person, dists: Path, target: Path) -> None:
    """Pages, packages and metadata, byte for byte; and nothing else is there."""
    YANKED.save(dists, {"one": {"1.0": 'it <breaks> & "more"'}})
    done = export(person, target)
    assert done.stdout == f"exported 2 projects, 4 files to {target} (4 new, 0 removed)\n"
    with live(person) as url:
        for project in ("", "one/", "two-three/"):
            for name, media_type in PAGES.items():
                page = (target / "simple" / project / name).read_bytes()
                assert page == get(f"{url}/simple/{project}", Accept=media_type).body
        packages = names(target / "packages")
        for name in packages:
            answer = get(f"{url}/packages/{urllib.parse.quote(name)}")
            assert (answer.status, (target / "packages" / name).read_bytes()) == (200, answer.body)
    held = [path.name for path in dists.iterdir() if path.suffix in (".whl", ".gz")]
    metadata = [f"{name}.metadata" for name in held if name.endswith(".whl")]
    assert packages == sorted(held + metadata)
    assert named(target) == {f"packages/{name}" for name in held}


def test_a_second_export_touches_nothing(person: Person, dists: Path, target: Path) -> None:
    """Not even a time of change, and it says so."""
    export(person, target)
    before = files(target)
    assert summary(export(person, target)) == "nothing changed"
    assert files(target) == before


def test_only_what_has_changed_is_touched(person: Person, dists: Path, target: Path) -> None:
    """A new release: its file and the pages of its project; what was there stays as it was."""
    export(person, target)
    before = files(target)
    new = wheels.wheel(dists, "one", "1.2").name
    assert summary(export(person, target)) == "1 new, 0 removed"
    after = files(target)
    assert {name for name in after if after[name] != before.get(name)} == {
        f"packages/{new}", f"packages/{new}.metadata", "simple/one/index.html",
        "simple/one/index.json", "project/one/releases.atom", "-/releases.atom",
    }  # fmt: skip


def test_what_is_unpublished_goes_and_what_is_yanked_stays(
    person: Person, dists: Path, target: Path
) -> None:
    """A project without files loses its directory; a yanked release keeps its files."""
    export(person, target)
    YANKED.save(dists, {"one": {"1.1": "broken"}})
    assert summary(export(person, target)) == "4 pages changed"
    assert "packages/one-1.1-py3-none-any.whl" in files(target)
    person.run("unpublish", "--yes", "two-three", "--all")
    person.run("unpublish", "--yes", "one", "1.0")
    assert summary(export(person, target)) == "0 new, 3 removed"
    assert set(files(target)) == {
        "nginx.conf", "simple/index.html", "simple/index.json", "simple/one/index.html",
        "simple/one/index.json", "packages/one-1.1-py3-none-any.whl",
        "packages/one-1.1-py3-none-any.whl.metadata", "project/one/releases.atom",
        "-/releases.atom",
    }  # fmt: skip
    assert not (target / "simple/two-three").exists()


def test_a_web_server_can_read_it_whatever_the_umask(
    person: Person, dists: Path, target: Path
) -> None:
    """Files 0644 and directories 0755; no inode is shared with the store."""
    export(person, target / "new", umask=0o077)
    parent = target.parent
    for path in (parent, *parent.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
    ours = {inode for inode, _ in files(dists).values()}
    assert not ours & {inode for inode, _ in files(target).values()}


def test_a_page_that_changes_twice_within_a_second_is_told_apart(
    person: Person, dists: Path, target: Path
) -> None:
    """Web servers and rsync compare sizes and seconds: no two states of a page have both."""
    seen = set()
    page = target / "simple/one/index.json"
    for reason in "abcdef":
        YANKED.save(dists, {"one": {"1.0": reason}})
        export_here(person.paths, target, None)  # no process has so many within a second
        seen.add((page.stat().st_size, int(page.stat().st_mtime)))
    assert len(seen) == 6


def test_a_file_that_was_changed_stays_as_it_was_exported(
    person: Person, dists: Path, target: Path
) -> None:
    """Also where size and time are the same; the page names it no longer until it is mended."""
    old = wheels.wheel(dists, "one", "2.0", content=b"A = 1")
    os.utime(old, (1e9, 1e9))
    content = old.read_bytes()
    export(person, target)
    new = wheels.wheel(target.parent / "new", "one", "2.0", content=b"A = 2")
    os.utime(new, (1e9, 1e9))
    new.replace(old)
    export(person, target)
    assert (target / "packages" / old.name).read_bytes() == content
    assert f"packages/{old.name}" not in named(target)
    old.write_bytes(content)
    export(person, target)
    assert f"packages/{old.name}" in named(target)


def test_what_is_lost_stays_as_it_was_exported(person: Person, dists: Path, target: Path) -> None:
    """A directory that was emptied, or is not mounted, takes nothing along."""
    export(person, target)
    before = files(target / "packages")
    for path in dists.glob("*-*"):
        path.unlink()
    assert "its exported files stay" in export(person, target).stderr
    assert files(target / "packages") == before
    assert named(target) == {f"packages/{name}" for name in before if ".metadata" not in name}


def test_a_damaged_copy_is_mended(person: Person, dists: Path, target: Path) -> None:
    """A crash of the machine may cut files short."""
    export(person, target)
    whole = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    for path in whole:
        if path.name != "nginx.conf":
            path.write_bytes(b"")
    export(person, target)
    assert {path: path.read_bytes() for path in whole} == whole


def test_a_damaged_file_of_the_index_is_not_spread(
    person: Person, dists: Path, target: Path
) -> None:
    """What has not the hash that its page tells is not exported; the old state stays."""
    export(person, target)
    before = files(target)
    damaged = wheels.sdist(dists, "one", "2.0")
    export(person, target.parent / "other")
    status = damaged.stat()
    damaged.write_bytes(bytes(status.st_size))
    os.utime(damaged, ns=(status.st_atime_ns, status.st_mtime_ns))
    failed = export(person, target, status=1)
    assert failed.stderr.splitlines()[-2:] == [
        "error: one changes during the export, or one of its files is damaged",
        "hint: try again",
    ]
    assert files(target) == before


def test_an_export_that_breaks_off_is_finished_by_the_next(
    person: Person, dists: Path, target: Path
) -> None:
    """The limit of file sizes breaks it off, as a full disk would; every page is still true."""
    export(person, target)
    before = files(target)
    wheels.wheel(dists, "one", "2.0")
    wheels.wheel(dists, "two-three", "2.0", content=b"#" * 3_000_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))

    failed = export(person, target, status=1, before=limit)
    assert failed.stderr.splitlines()[-1] == f"error: cannot export to {target}: File too large"
    after = files(target)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if Path(name).name.startswith(".")]
    assert summary(export(person, target)) == "1 new, 0 removed"
    assert named(target) <= set(files(target))


def test_what_a_killed_export_left_is_swept(person: Person, dists: Path, target: Path) -> None:
    """Half a copy is never under its name, and the next export removes it."""
    big = dists / "big-1.0-py3-none-any.whl"
    with big.open("wb") as file:
        file.truncate(200_000_000)  # a wheel may begin with anything
    with zipfile.ZipFile(big, "a") as archive:
        archive.writestr("big-1.0.dist-info/METADATA", wheels.metadata("big", "1.0"))
    with subprocess.Popen([COMMAND, "export", target], env=person.environment) as process:
        packages = target / "packages"
        while process.poll() is None and not names(packages):
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    half = names(packages)
    assert len(half) == 1
    assert half[0].startswith(".")
    # It may be killed at any other file as well.
    (target / "simple/one").mkdir(parents=True)
    for place in (target, target / "simple", target / "simple/one"):
        (place / half[0]).touch()
    export(person, target)
    assert big.name in names(packages)
    assert not [name for name in files(target) if Path(name).name.startswith(".")]


def test_no_reader_meets_a_page_that_names_a_missing_file(
    person: Person, dists: Path, target: Path
) -> None:
    """While files come, whoever reads a page finds all that it names."""
    looks = 0
    for version in range(2, 5):
        for number in range(15):
            wheels.wheel(dists, f"project-{number}", f"{version}.0")
        with subprocess.Popen([COMMAND, "export", target], env=person.environment) as process:
            while process.poll() is None:
                looks += 1
                assert [name for name in named(target) if not (target / name).exists()] == []
        assert process.returncode == 0
    assert looks > 10
    assert len([name for name in named(target) if "project_" in name]) == 45


def test_a_file_goes_only_after_the_pages_that_name_it(
    person: Person, dists: Path, target: Path
) -> None:
    """Where a page cannot be written, what the old one names is still there."""
    export(person, target)
    before = set(files(target))
    (dists / "one-1.0.tar.gz").unlink()
    page = target / "simple/one/index.html"
    page.unlink()
    page.mkdir()
    failed = export(person, target, status=1)
    assert failed.stderr.splitlines() == [
        "warning: one-1.0.tar.gz is missing, so the exported page of one leaves it out",
        f"error: cannot export to {target}: Is a directory ({page})",
        "hint: move that file or directory away",
    ]
    assert set(files(target)) == before - {"simple/one/index.html"}


def test_what_lies_beside_it_is_left_alone(person: Person, dists: Path, target: Path) -> None:
    """Only `simple`, `packages` and `nginx.conf` are the export's own, and the feeds."""
    export(person, target)
    places = (
        *(".htaccess", "robots.txt", "other/simple/index.html", "project/mysite/index.html"),
        *("project/mysite/releases.atom", "project/page.html", "project/two-three/index.html"),
        *("project/one/page.html", "-/style.css"),
    )
    beside = [target / name for name in places]
    strays = [target / "simple/stray/page.html", target / "packages/stray.whl"]
    elsewhere = target.parent / "elsewhere/kept.whl"
    for path in (*beside, *strays, elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    (target / "packages/link").symlink_to(elsewhere.parent)
    person.run("unpublish", "--yes", "two-three", "--all")
    assert summary(export(person, target)) == "0 new, 3 removed"
    assert all(path.exists() for path in (*beside, elsewhere))
    assert not (target / "project/two-three/releases.atom").exists()
    assert not any(path.exists() for path in (*strays, target / "packages/link"))


@pytest.mark.parametrize("where", ["full", "the distributions", "inside them", "around them"])
def test_a_directory_that_is_not_its_own_is_refused(
    where: str, person: Person, dists: Path, tmp_path: Path
) -> None:
    """One line and a hint; nothing there is touched."""
    full = tmp_path / "full"
    (full / "packages").mkdir(parents=True)
    (full / "nginx.conf").write_text("# mine\n")
    (full / "packages/mine").touch()
    link = tmp_path / "link"
    link.symlink_to(dists)
    to = {
        "full": full, "the distributions": link, "inside them": dists / "web",
        "around them": dists.parent,
    }[where]  # fmt: skip
    before = files(tmp_path)
    error, hint = export(person, to, status=1).stderr.splitlines()
    if where == "full":
        assert error == f"error: {to} is not empty, and was not created by `pypi-insiders export`"
        assert hint == "hint: name a new or an empty directory"
    else:
        assert error == (
            f"error: cannot export to {to}: the index stores its distributions in {dists}"
        )
        assert hint == "hint: name another directory"
    after = files(tmp_path)
    assert {name: after[name] for name in before} == before
    assert not (dists / "web").exists()


def test_a_link_in_the_place_of_a_directory_is_not_followed(
    person: Person, dists: Path, target: Path
) -> None:
    """What lies behind it is somebody else's."""
    export(person, target)
    theirs = target.parent / "theirs"
    (target / "packages").rename(theirs)
    (theirs / "wheel.whl").touch()
    (target / "packages").symlink_to(theirs)
    before = files(theirs)
    failed = export(person, target, status=1)
    assert failed.stderr.splitlines()[0] == (
        f"error: cannot export to {target}: Not a directory ({target}/packages)"
    )
    assert files(theirs) == before


def test_distributions_out_of_reach_do_not_seem_gone(
    person: Person, dists: Path, target: Path
) -> None:
    """A missing directory is an error, and no change."""
    export(person, target)
    before = files(target)
    dists.rename(dists.with_name("away"))
    failed = export(person, target, status=1)
    assert failed.stderr.splitlines() == [
        f"error: cannot read {dists}: No such file or directory",
        "hint: publish releases: `pypi-insiders update`",
    ]
    assert files(target) == before


def test_a_full_disk_and_missing_rights_are_one_line(
    person: Person, dists: Path, target: Path
) -> None:
    """Without a stack of Python's, and with what to do."""
    target.mkdir(parents=True)
    wheels.sdist(dists, "big", "1.0", content=os.urandom(300_000))
    script = f'mount -t tmpfs -o size=64k tmpfs "$0" && {COMMAND} export "$0"'
    full = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, target],
        env=person.environment, capture_output=True, text=True,
    )  # fmt: skip
    if "unshare" in full.stderr or "mount:" in full.stderr:
        unavailable(full.stderr.strip())
    assert full.stderr.splitlines()[-2:] == [
        f"error: cannot export to {target}: No space left on device",
        "hint: free space on that disk and try again",
    ]
    target.chmod(0o500)
    without_rights = [need("setpriv"), "--bounding-set", "-all"] if os.geteuid() == 0 else []
    denied = subprocess.run(
        [*without_rights, COMMAND, "export", target],
        env=person.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert re.fullmatch(
        rf"error: cannot export to {target}: Permission denied \((\S+)\)\n"
        r"hint: check its owner and mode: `namei -l \1`\n",
        denied.stderr,
    )


def test_two_exports_take_turns(person: Person, dists: Path, target: Path) -> None:
    """The second waits, and says so."""
    with locked(person.paths.locks.exports):
        second = subprocess.Popen(
            [COMMAND, "export", target], env=person.environment, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None
        line = second.stderr.readline()
        assert line == "note: another export is running; waiting for it to end\n"
        assert not target.exists()
    with second:
        assert second.wait(60) == 0
    assert (target / "nginx.conf").exists()


def test_whose_index_asks_for_passwords_is_told_that_files_do_not(
    person: Person, dists: Path, target: Path
) -> None:
    """What is private would be public otherwise."""
    person.paths.config.mkdir(parents=True)
    person.paths.settings.write_text("[server]\nauth = true\n")
    assert export(person, target).stderr == (
        "warning: the exported files have no passwords: the web server must ask for them\n"
    )


@pytest.mark.parametrize(
    ("options", "setting", "fallback"),
    [
        ("", None, "https://pypi.org/simple/"),
        ("", "", None),
        ("", "https://set.example/simple", "https://set.example/simple/"),
        ("--fallback-url https://o.example/", "https://set.example/", "https://o.example/"),
        ("--no-fallback", "https://set.example/simple/", None),
        ("--fallback-url=", "https://set.example/simple/", None),
    ],
)
def test_the_fallback_is_the_option_the_setting_or_pypi(
    options: str, setting: str | None, fallback: str | None, person: Person, dists: Path
) -> None:
    """In this order."""
    person.paths.config.mkdir(parents=True)
    line = "" if setting is None else f'fallback-url = "{setting}"\n'
    person.paths.settings.write_text(f"[server]\n{line}")
    target = person.home / "web"
    export(person, target, *options.split())
    answer = f'303 "{fallback}$insiders_name/"' if fallback else "404"
    configuration = (target / "nginx.conf").read_text()
    assert f"location @insiders_fallback {{\n    return {answer};\n}}\n" in configuration


def test_contradicting_options_are_wrong_usage(person: Person, target: Path) -> None:
    """Status 2, and nothing is made."""
    both = ("--no-fallback", "--fallback-url", "https://o.example/")
    assert "exclude each other" in export(person, target, *both, status=2).stderr
    wrong = export(person, target, "--fallback-url", "pypi.org", status=2)
    assert "must be the URL of an index" in wrong.stderr
    assert not target.exists()
