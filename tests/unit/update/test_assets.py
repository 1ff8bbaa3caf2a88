"""assets: releases whose files come from the forge, and what is built beside them."""

import base64
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import wheels
from fixtures import Person
from projects import Project, create
from releases import File, MakeReleases, Releases, make_releases

__all__ = ["make_releases"]  # a fixture

pytestmark = pytest.mark.journey

WHEEL, SDIST = "probe-1.0-py3-none-any.whl", "probe-1.0.tar.gz"
TOKEN = "t0ken-of-the-api"
MAC = "cp312-cp312-macosx_11_0_arm64"


@dataclass(frozen=True)
class Place:
    """A project with a release on a forge, and somebody who watches it."""

    person: Person
    project: Project
    releases: Releases
    made: Path
    commit: str

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command; return what it prints on standard error."""
        return self.person.run(*arguments, status=status).stderr

    def show(self) -> dict[str, Any]:
        """Return what is known of the repository."""
        shown = self.person.run("show", "me/probe", "--json").stdout
        return dict(json.loads(shown))

    def wheel(self, tag: str = "py3-none-any", version: str = "1.0", content: bytes = b"") -> Path:
        """Make a wheel of the project."""
        return wheels.wheel(self.made, "probe", version, tag=tag, content=content)

    def sdist(self, version: str = "1.0") -> Path:
        """Make an sdist of the project."""
        return wheels.sdist(self.made, "probe", version)

    def turn_back(self, hours: float) -> None:
        """Let tags have waited for longer."""
        path = self.person.paths.state / "repositories/me/probe.json"
        known = json.loads(path.read_text())
        for waiting in known["waiting"].values():
            waiting["since"] -= int(hours * 3600)
        path.write_text(json.dumps(known))


MakePlace = Callable[..., Place]


@pytest.fixture
def make_place(person: Person, tmp_path: Path, make_releases: MakeReleases) -> MakePlace:
    """Watch a project with one tag, of which nothing is published."""

    def make(assets: str, *options: str, kind: str = "github", token: str | None = None) -> Place:
        project, releases = create(tmp_path, "probe", "me/probe"), make_releases(kind, token)
        commit = project.release("1.0")
        trusted = os.environ["SSL_CERT_FILE"]
        (person.home / ".gitconfig").write_text(f"[http]\n  sslCAInfo = {trusted}\n")
        person.run(
            "repos", "add", "me/probe:probe", "--url", releases.url, "--no-check",
            "--assets", assets, "--forge", kind, *options,
        )  # fmt: skip
        (person.home / ".config/pypi-insiders/config.toml").write_text(
            "[watcher]\npublic-versions = false\n"
        )
        return Place(person, project, releases, tmp_path / "made", commit)

    return make


@pytest.mark.parametrize("kind", ["github", "gitlab", "gitea"])
def test_only_what_the_release_has_is_published_and_nothing_is_built(
    make_place: MakePlace, tmp_path: Path, kind: str
) -> None:
    """With the platforms that nobody builds here, their digests, and the commit of the tag."""
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    place = make_place("only", "--token-file", str(file), kind=kind, token=TOKEN)
    made = [place.wheel(MAC), place.wheel("cp312-cp312-win_amd64"), place.sdist()]
    place.releases.add("v1.0", *made)
    place.releases.files["v1.0"] += [
        File("probe-0.9-py3-none-any.whl", b""), File("other-1.0-py3-none-any.whl", b""),
        File("SHA256SUMS", b""), File("probe-1.0.zip", b""),
        File("../probe-1.0-py3-none-any.whl", b""), File("Probe-1.0.tar.gz", b""),
        File(f"probe-1.0.0-{MAC}.whl", b""),
    ]  # fmt: skip
    told = place.run("update")
    assert (
        "assets of another project or version are left out: "
        "probe-0.9-py3-none-any.whl, other-1.0-py3-none-any.whl" in told
    )
    assert TOKEN not in told
    assert not list((place.person.paths.cache / "builds").rglob("*.whl"))
    names = sorted(path.name for path in made)
    assert place.person.distributions() == names
    (build,) = place.show()["builds"]
    assert build["commit"] == place.commit
    assert (build["sandboxed"], build["requirements"]) == (None, {})
    listed = {item.name: item for item in place.releases.files["v1.0"]}
    assert {item.pop("name"): item for item in build["assets"]} == {
        name: {
            "sha256": None if kind == "gitea" else listed[name].sha256,
            "size_bytes": None if kind == "gitlab" else listed[name].size,
            "updated_at": None if kind == "gitlab" else listed[name].updated_at,
            "changed": False,
        }
        for name in names
    }
    # Its own questions, once; and no file twice, by the next update either.
    assert len(place.releases.downloads) == 3
    assert "left out" not in place.run("update")
    assert len(place.releases.downloads) == 3
    assert set(place.releases.foreign) == {None}
    logs = "".join(path.read_text() for path in place.person.paths.state.rglob("*.json"))
    assert TOKEN not in logs


def test_preferred_files_are_published_and_the_others_built(make_place: MakePlace) -> None:
    """The sdist if there is none, and wheels if none fits this machine."""
    place = make_place("prefer")
    mac = place.wheel(MAC)
    place.releases.add("v1.0", mac)
    place.run("update")
    assert place.person.distributions() == sorted([mac.name, WHEEL, SDIST])
    (build,) = place.show()["builds"]
    assert [item["name"] for item in build["assets"]] == [mac.name]
    assert build["sandboxed"] is not None
    # All of it again, if it was taken back.
    place.run("unpublish", "probe", "1.0", "--yes")
    assert place.person.distributions() == []
    place.run("update", "me/probe", "--tag", "v1.0", "--force")
    assert place.person.distributions() == sorted([mac.name, WHEEL, SDIST])
    assert [item["name"] for item in place.show()["builds"][0]["assets"]] == [mac.name]


def test_what_fits_is_not_built_again(make_place: MakePlace) -> None:
    place = make_place("prefer")
    wheel = place.wheel(content=b"# theirs\n")
    place.releases.add("v1.0", wheel)
    place.run("update")
    published = place.person.paths.distributions
    assert place.person.distributions() == [WHEEL, SDIST]
    assert (published / WHEEL).read_bytes() == wheel.read_bytes()


def test_what_does_not_build_holds_up_no_files_of_the_release(make_place: MakePlace) -> None:
    place = make_place("prefer")
    (place.project.tree / "pyproject.toml").write_text("[build-system]\nrequires = 5\n")
    place.project.push("v1.1")
    place.releases.add("v1.1", wheel := place.wheel(version="1.1"))
    told = place.run("update")
    assert "failed" not in told
    assert place.person.distributions() == [wheel.name]
    (build,) = place.show()["builds"]
    assert build["remark"].startswith("published without its sdist, as the build fails: ")


def test_a_release_without_files_waits_and_does_not_fail_for_hours(make_place: MakePlace) -> None:
    """Programs of the forge make them after the tag; `only` never builds."""
    place = make_place("only")
    host = place.releases.host.url.removeprefix("https://")
    waits = f"tag v1.0 waits for assets: {host} has no release of it"
    assert f"me/probe: {waits}" in place.run("update")
    shown = place.person.run("status", "me/probe").stdout
    assert shown.count(waits) == 1
    (waiting,) = place.show()["waiting"]
    assert (waiting["tag"], waiting["reason"]) == ("v1.0", f"{host} has no release of it")
    place.releases.add("v1.0")
    assert f"its release on {host} has no wheel or sdist of probe 1.0" in place.run("update")
    place.turn_back(7)
    told = place.run("update", status=1)
    assert "no assets after 6 hours: " in told
    assert "`pypi-insiders repos set me/probe assets=prefer`" in told
    assert place.person.distributions() == []
    place.releases.add("v1.0", place.wheel())
    place.run("update", "me/probe")
    assert place.person.distributions() == [WHEEL]
    assert place.show()["waiting"] == []


def test_preferred_files_are_waited_for_an_hour(make_place: MakePlace) -> None:
    """But not for those of the first release, which were made long ago, or never are."""
    place = make_place("prefer")
    place.run("update")
    assert place.person.distributions() == [WHEEL, SDIST]
    place.releases.files["v1.0"] = [File("notes.txt", b"")]
    place.run("update")  # asks for further files, of which there are none
    place.project.release("1.1")
    assert "tag v1.1 waits for assets: " in place.run("update")
    place.turn_back(0.9)
    assert "tag v1.1 waits for assets: " in place.run("update")
    place.turn_back(0.2)
    place.run("update")
    assert "probe-1.1.tar.gz" in place.person.distributions()


def test_files_that_follow_are_published_too_and_no_file_is_replaced(
    make_place: MakePlace,
) -> None:
    """For a day: each of a dozen wheels is uploaded by a program of its own."""
    place = make_place("only")
    first = place.wheel(content=b"# first\n")
    place.releases.add("v1.0", first)
    place.run("update")
    content = first.read_bytes()
    (before,) = place.show()["builds"]
    mac = place.wheel(MAC)
    place.releases.add("v1.0", mac)
    changed = replace(
        place.releases.files["v1.0"][0], content=place.wheel(content=b"# second\n").read_bytes()
    )
    # Another file of the same kind, which installers could take in place of the published one.
    twin = File(WHEEL.replace("p", "P", 1), changed.content)
    place.releases.files["v1.0"][:1] = [twin, changed]
    place.run("update")
    assert place.person.distributions() == sorted([WHEEL, mac.name])
    published = place.person.paths.distributions / WHEEL
    assert published.read_bytes() == content
    (build,) = place.show()["builds"]
    assert build["built_at"] == before["built_at"]
    assert {item["name"]: item["changed"] for item in build["assets"]} == {
        WHEEL: True, mac.name: False,
    }  # fmt: skip
    warning = f"asset {WHEEL} of tag v1.0 is another file on its host by now; the published one"
    for _ in range(2):  # each update, as of a tag that has moved
        place.run("update")
        assert warning in place.person.run("status", "me/probe").stdout


@pytest.mark.parametrize("is_same", [True, False])
def test_a_lost_file_comes_from_the_release_again_if_it_is_the_same(
    make_place: MakePlace, *, is_same: bool
) -> None:
    place = make_place("only")
    place.releases.add("v1.0", place.wheel(MAC), place.wheel())
    place.run("update")
    published = place.person.paths.distributions / WHEEL
    content = published.read_bytes()
    published.unlink()
    if not is_same:
        other = place.wheel(content=b"# other\n").read_bytes()
        old = place.releases.files["v1.0"][1]
        place.releases.files["v1.0"][1] = replace(old, content=other)
        told = place.run("update", status=1)
        host = place.releases.host.url.removeprefix("https://")
        assert f"{WHEEL}: {host} no longer has it as it was published" in told
        assert not published.exists()
        return
    place.run("update")
    assert published.read_bytes() == content
    assert len(place.releases.downloads) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("401", "{host} rejects the token (401), which may have expired"),
        ("cut", f"tag v1.0 waits for assets: {WHEEL} arrived incomplete from {{host}}"),
        ("digest", f"tag v1.0 waits for assets: {WHEEL} has another SHA-256 than {{host}} lists"),
        ("500", "tag v1.0 waits for assets: {host} fails (status 500)"),
    ],
)
def test_a_bad_answer_publishes_nothing_and_holds_up_nothing(
    make_place: MakePlace, tmp_path: Path, change: str, message: str
) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(TOKEN)
    place = make_place("only", "--token-file", str(file))
    place.releases.add("v1.0", place.wheel())
    if change == "cut":
        place.releases.is_cutting = True
    elif change == "digest":
        wrong = replace(place.releases.files["v1.0"][0], digest="0" * 64)
        place.releases.files["v1.0"] = [wrong]
    else:
        place.releases.answer = (int(change), [], b"")
    others = []
    if change == "500":
        other = create(tmp_path, "other", "me/other")
        other.release("2.0")
        place.run("repos", "add", "me/other:other", "--url", other.url, "--no-check")
        others = ["other-2.0-py3-none-any.whl", "other-2.0.tar.gz"]
    told = place.run("update", status=1 if change == "401" else 0)
    host = place.releases.host.url.removeprefix("https://")
    assert message.format(host=host) in told
    assert place.person.distributions() == others
    assert not list((place.person.paths.cache / "builds").glob("*/*.whl"))
    place.releases.answer, place.releases.is_cutting = None, False
    place.releases.files["v1.0"] = []
    place.releases.add("v1.0", place.wheel())
    place.run("update")
    assert WHEEL in place.person.distributions()


def test_a_file_that_is_no_distribution_is_left_out(make_place: MakePlace) -> None:
    """A wheel whose metadata is of another project, and one whose RECORD is of other files."""
    place = make_place("only")
    good = place.wheel(MAC)
    bad = [place.wheel("cp39-cp39-win32"), place.wheel("cp310-cp310-win32")]
    for path, old, new in zip(bad, (b"Name: probe", b"VERSION ="), (b"Name: prober", b"VERSIO ="),
                              strict=True):  # fmt: skip
        rewrite(path, old, new)
    place.releases.add("v1.0", good, *bad)
    told = place.run("update")
    for path in bad:
        assert f"tag v1.0: asset left out: {path.name}" in told
    assert place.person.distributions() == [good.name]
    # The release has not failed for them, and they are loaded once more at most.
    for _ in range(2):
        place.run("update")
    assert len(place.releases.downloads) == 5
    text = f"asset {bad[0].name} of tag v1.0 is no valid distribution and is not published"
    assert text in place.person.run("status", "me/probe").stdout
    # Uploaded again: valid now.
    fixed = place.wheel("cp39-cp39-win32")
    place.releases.files["v1.0"][1] = File(fixed.name, fixed.read_bytes())
    place.run("update")
    assert place.person.distributions() == sorted([good.name, fixed.name])
    assert text not in place.person.run("status", "me/probe").stdout


def rewrite(wheel: Path, old: bytes, new: bytes) -> None:
    """Change files of a wheel, and its RECORD only for the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    changed = {name: content.replace(old, new) for name, content in files.items()}
    for name, content in changed.items():
        if content != files[name] and name.endswith("METADATA"):
            record = f"{name.partition('/')[0]}/RECORD"
            lines = changed[record].decode().splitlines()
            kept = [line for line in lines if not line.startswith(name)]
            digest = hashlib.sha256(content).digest()
            encoded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            entry = f"{name},sha256={encoded},{len(content)}"
            changed[record] = "\n".join([entry, *kept, ""]).encode()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in changed.items():
            archive.writestr(zipfile.ZipInfo(name), content)


def test_who_lacks_a_compiler_is_offered_the_wheels_of_releases(make_place: MakePlace) -> None:
    place = make_place("never")
    place.run("repos", "set", "me/probe", "assets=")
    place.project.write("1.1")
    place.project.hook('import sys; sys.exit("error: can\'t find Rust compiler")')
    place.project.push("v1.1")
    told = place.run("update", status=1)
    offer = (
        "if its releases have wheels, `pypi-insiders repos set me/probe assets=prefer` publishes"
    )
    assert f"hint: {offer} those" in told
    assert place.releases.questions == []


def test_nobody_signs_assets(person: Person) -> None:
    """So that a repository whose tags must be signed gets no unsigned code this way."""
    message = "me/probe has allowed-signers, which is about tags: nobody signs assets"
    signers = "~/allowed"
    one = ("repos", "add", "me/probe", "--no-check", "--allowed-signers", signers)
    assert message in person.run(*one, "--assets", "only", status=2).stderr
    person.run(*one)
    assert message in person.run("repos", "set", "me/probe", "assets=prefer", status=2).stderr
    again = ("repos", "add", "me/probe", "--no-check", "--assets", "prefer")
    assert message in person.run(*again, status=2).stderr
    assert "assets" not in person.paths.repositories.read_text()


def test_an_older_program_says_that_the_state_is_newer(make_place: MakePlace) -> None:
    """Its format is another one, as its keys are not known there."""
    place = make_place("only")
    place.releases.add("v1.0", place.wheel())
    began = int(time.time())
    place.run("update")
    path = place.person.paths.state / "repositories/me/probe.json"
    known = json.loads(path.read_text())
    assert known["format"] == 5
    assert known["builds"][0]["built_at"] >= began


def test_a_lost_file_never_comes_back_as_another_one_beside_further_files(
    make_place: MakePlace,
) -> None:
    """Both at once: the lost file is compared with what was published."""
    place = make_place("only")
    place.releases.add("v1.0", place.wheel(MAC), place.wheel(content=b"# first\n"))
    place.run("update")
    published = place.person.paths.distributions / WHEEL
    published.unlink()
    other = place.wheel(content=b"# second\n")
    place.releases.files["v1.0"][1] = File(WHEEL, other.read_bytes())
    place.releases.add("v1.0", place.wheel("cp312-cp312-win_amd64"))
    for _ in range(2):
        told = place.run("update", "me/probe", status=1)
        assert f"{WHEEL}: " in told
        assert "no longer has it as it was published" in told
        assert not published.exists()


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"size": 10**12}, f"{WHEEL} is larger than 2 GiB"),
        ({"size": 10**20}, "{host} does not answer as github does"),
        ({"size": float("inf")}, "{host} does not answer as github does"),
        ({"name": f"probe-1.0-py3-none-{'x' * 230}.whl"}, "has no wheel or sdist of probe 1.0"),
        ({"label": [[]] * 1_000_000}, "{host} sends more than a list of files"),
    ],
    ids=["size", "no size", "infinity", "name", "values"],
)
def test_what_a_forge_lists_is_no_bug_here_and_no_full_disk(
    make_place: MakePlace, listed: dict[str, Any], message: str
) -> None:
    place = make_place("only")
    item = {"name": WHEEL, "id": 1, "size": 5, **listed}
    body = json.dumps({"id": 1, "assets": [item]}).replace("Infinity", "1e999").encode()
    place.releases.answer = (200, [("Content-Type", "application/json")], body)
    told = place.run("update", status=0 if "name" in listed else 1)
    assert message.format(host=place.releases.host.url.removeprefix("https://")) in told
    assert "bug" not in told
    assert place.releases.downloads == []


def test_what_git_reads_from_elsewhere_has_no_assets_of_a_stranger(make_place: MakePlace) -> None:
    """With `insteadOf`, the repository of that name on the forge may be of anybody."""
    place = make_place("only")
    place.releases.add("v1.0", place.wheel())
    with (place.person.home / ".gitconfig").open("a") as settings:
        settings.write(f'[url "{place.project.url}"]\n  insteadOf = {place.releases.url}\n')
    told = place.run("update", status=1)
    assert f"Git reads it from {place.project.url} (insteadOf), and its releases on" in told
    assert place.releases.questions == place.person.distributions() == []
    # Another user of the same host.
    host = place.releases.host.url.removeprefix("https://")
    (place.person.home / ".gitconfig").write_text(
        f"[http]\n  sslCAInfo = {os.environ['SSL_CERT_FILE']}\n"
        f'[url "https://me@{host}/"]\n  insteadOf = https://{host}/\n'
    )
    place.run("update")
    assert place.person.distributions() == [WHEEL]


def test_no_file_is_added_to_a_release_of_long_ago(make_place: MakePlace) -> None:
    """It could replace a published one for installers, by a build number in its name."""
    place = make_place("only")
    place.releases.add("v1.0", place.wheel())
    place.run("update")
    path = place.person.paths.state / "repositories/me/probe.json"
    known = json.loads(path.read_text())
    known["builds"][0]["built_at"] -= 2 * 86400
    path.write_text(json.dumps(known))
    (place.person.paths.state / "verified.json").unlink(missing_ok=True)
    place.releases.add("v1.0", place.wheel("9-py3-none-any"))
    before = len(place.releases.questions)
    place.run("update")
    assert len(place.releases.questions) == before + 1  # has a published one changed?
    assert place.person.distributions() == [WHEEL]
