"""distribution: what files say of themselves, and which are refused."""

import gzip
import io
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version
from wheels import metadata, sdist, wheel

from pypi_insiders.index.distribution import (
    DistributionError,
    is_of,
    kind_of,
    possible_projects,
    project_of,
    projects_of,
    release_of,
)
from pypi_insiders.index.file_contents import read


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("my_dist-1.0-py3-none-any.whl", ("my-dist", "1.0")),
        ("my_dist-1.0+insiders.2-1-cp311-cp311-linux_x86_64.whl", ("my-dist", "1.0+insiders.2")),
        ("my_dist-1.0.tar.gz", ("my-dist", "1.0")),
        ("My.Dist-1.0rc1.zip", ("my-dist", "1.0rc1")),
        ("my-dist-1.0.tar.gz", ("my-dist", "1.0")),
        ("my_dist-2024.01.05.tar.gz", ("my-dist", "2024.1.5")),
    ],
)
def test_a_release_is_read_off_a_file_name(name: str, release: tuple[str, str]) -> None:
    """Normalized, as an index names it."""
    assert release_of(name) == (release[0], Version(release[1]))
    assert project_of(name) == release[0]
    assert is_of(name, *release)
    assert not is_of(name, release[0], "1")
    assert not is_of(name, "my_dist", release[1])


@pytest.mark.parametrize(
    "name",
    [
        "README.txt", "my_dist-1.0.egg", "my_dist-1.0.exe", "my_dist-1.0.tar.bz2", "my_dist.tar.gz",
        "my_dist-1.0.whl", "-1.0.tar.gz", "my_dist-.tar.gz", "<b>-1.0.tar.gz", "ü-1.0.tar.gz",
        "a b-1.0.tar.gz", "../a-1.0.tar.gz", "a\n-1.0.tar.gz", "my_dist-1.0\n.tar.gz", ".whl", "",
        "my_dist-1.0-py3-none-any.whl\n", "a-\u0661.tar.gz",
    ],
)  # fmt: skip
def test_other_names_are_no_distributions(name: str) -> None:
    """Whatever it is, the index does not show it."""
    with pytest.raises(DistributionError):
        release_of(name)
    assert not is_of(name, "my-dist", "1.0")


def test_a_wheel_and_an_sdist_tell_their_metadata(tmp_path: Path) -> None:
    """Both as they stand in the file, byte for byte."""
    line = "Requires-Python: >=3.9"
    expected = metadata("my-dist", "1.0", line).encode()
    for path in (wheel(tmp_path, "my-dist", "1.0", line), sdist(tmp_path, "my-dist", "1.0", line)):
        contents = read(path)
        assert (contents.metadata, contents.requires_python) == (expected, ">=3.9")


def test_a_zip_is_an_sdist_too(tmp_path: Path) -> None:
    """Old releases have no other."""
    path = tmp_path / "my-dist-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("my-dist-1.0/PKG-INFO", metadata("My.Dist", "1.0"))
    assert read(path).metadata == metadata("My.Dist", "1.0").encode()


@pytest.mark.parametrize("line", ["Requires-Python: three", "X-Other: 1"])
def test_a_python_that_nobody_understands_is_not_told(tmp_path: Path, line: str) -> None:
    """Installers would not understand it either, and leave the file out."""
    assert read(wheel(tmp_path, "my-dist", "1.0", line)).requires_python is None


@pytest.mark.parametrize("make", [wheel, sdist])
def test_a_file_that_is_cut_off_anywhere_is_damaged(tmp_path: Path, make: type) -> None:
    """A copy under way looks so; even the checksum at the end must be there."""
    path: Path = make(tmp_path, "my-dist", "1.0", content=bytes(range(256)) * 20)
    content = path.read_bytes()
    for length in (0, 1, 9, 300, len(content) // 2, len(content) - 8, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DistributionError) as caught:
            read(path)
        assert caught.value.message.startswith(f"{path.name} is damaged: ")
    path.write_bytes(content)
    assert read(path).requires_python is None


def _tar(path: Path, **members: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_a_file_must_be_what_its_name_says(tmp_path: Path) -> None:
    """Name and version alike, in any spelling."""
    built = wheel(tmp_path, "my-dist", "1.0")
    for name, told in (
        ("other-1.0-py3-none-any.whl", "my-dist 1.0"),
        ("my_dist-1.1-py3-none-any.whl", "my-dist 1.0"),
    ):
        with pytest.raises(DistributionError) as caught:
            read(built, name)
        assert caught.value.message == f"{name} has the metadata of {told}"
    assert read(built, "My_Dist-1.0.0-py3-none-any.whl").sha256 == read(built).sha256


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a-1/other": ""}, "it has 0 PKG-INFO files"),
        (
            {"a-1/PKG-INFO": metadata("a", "1"), "b-1/PKG-INFO": metadata("a", "1")},
            "it has 2 PKG-INFO files",
        ),
        ({"a-1/PKG-INFO": "x" * (4 * 1024 * 1024 + 1)}, "its metadata is too large"),
        ({"a-1/PKG-INFO": "Name: a\nVersion: new\n"}, None),
        ({"a-1/PKG-INFO": ""}, None),
    ],
)
def test_an_sdist_must_have_one_pkg_info(
    tmp_path: Path, members: dict[str, str], reason: str | None
) -> None:
    """What is deeper in it does not count."""
    path = _tar(tmp_path / "a-1.tar.gz", **members, **{"a-1/deeper/PKG-INFO": "x"})
    with pytest.raises(DistributionError) as caught:
        read(path)
    if reason:
        assert caught.value.message == f"a-1.tar.gz is damaged: {reason}"
    else:
        assert "invalid version in its metadata" in caught.value.message


def test_metadata_that_swell_are_not_unpacked(tmp_path: Path) -> None:
    """A few kilobytes can hold gigabytes."""
    path = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-1.dist-info/METADATA", bytes(64 * 1024 * 1024))
    with pytest.raises(DistributionError) as caught:
        read(path)
    assert caught.value.message == f"{path.name} is damaged: its metadata is too large"


def test_what_is_no_archive_at_all_is_damaged(tmp_path: Path) -> None:
    """Text, an empty archive, an archive of another kind."""
    path = tmp_path / "a-1.tar.gz"
    for content in (b"text", gzip.compress(b""), gzip.compress(b"text" * 1000)):
        path.write_bytes(content)
        with pytest.raises(DistributionError):
            read(path)


def test_a_file_that_is_gone_is_no_damaged_one(tmp_path: Path) -> None:
    """Who asks must be able to tell."""
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "a-1.tar.gz")


ODD = {
    "x-1.0.tgz": {"x"},
    "my-pkg-1.0.tar.bz2": {"my-pkg"},
    "My_Pkg-1.0-py3.11.egg": {"my-pkg"},
    "x-1.0.ZIP": {"x"},
    "zz_i-1.0.tar.zst": {"zz-i"},
    "zz_i-1.0.tar.lz": {"zz-i"},
    "zz_i-1.0.tar.Z": {"zz-i"},
    "zz_i-1.0.tar.br": {"zz-i"},
    "zz_i-1.0.tar.unheard": {"zz-i"},
    "zz_i-1.0.tar": {"zz-i"},
    "zz_i-1.0.taz": {"zz-i"},
    "zz_i-1.0.tzst": {"zz-i"},
    "zz_i-1.0.gz": {"zz-i"},
    "zz_i-1.0.pyz": {"zz-i"},
    "zz_i-1.0.tar.gz.zip": {"zz-i"},
    "zz_i.tar.zst": {"zz-i"},
    "x-latest.tar.gz": {"x"},
    "a-b-latest.tar.xz": {"a", "a-b"},
    "my_pkg-1.0-odd-py3-none-any.whl": {"my-pkg"},
    "probe-1.0-py3-none-any (1).whl": {"probe"},
    "foo-2-bar-1.0.tgz": {"foo", "foo-2-bar"},
    "notes-1.0.txt": set(),
    "probe-1.0.tar.gz.asc": set(),
    "probe.unheard": set(),
    "probe-1.0": set(),
    "probe-1.0.whl.part": set(),
    "secret 1.0.zip": {"secret"},
    "secret_1.0.tar.gz": {"secret"},
}


@pytest.mark.parametrize(("name", "projects"), list(ODD.items()))
def test_a_file_in_an_odd_form_says_whose_it_may_be(name: str, projects: set[str]) -> None:
    """One name too many is the safe mistake."""
    assert possible_projects(name) == projects


def test_spellings_of_one_file_are_of_one_kind() -> None:
    kinds = [
        ("probe-1.0-py3-none-any.whl", "Probe-1.0.0-py3-none-any.whl"),
        ("probe-1.0-py2.py3-none-any.whl", "probe-1.0-py3.py2-none-any.whl"),
        ("probe-1.0-1-py3-none-any.whl",),
        ("probe-1.0.tar.gz", "Probe-1.0.zip"),
    ]
    found = [{kind_of(name) for name in names} for names in kinds]
    assert [len(kind) for kind in found] == [1, 1, 1, 1]
    assert len(set.union(*found)) == 4


def test_the_short_way_to_a_project_leads_where_the_long_one_does() -> None:
    """Of names that are made of the parts of names, in any order."""
    parts = ["a", "B1", "_", ".", "-", "__", "1", "1.0", "2.0rc1", "1.0.post1", "1.0.dev2", "+x",
             "+x.1", "+01a", ".01", "-1.0", "-1.0-py3-none-any", "-py2.py3", ".whl",
             ".tar.gz", ".zip", "\n"]  # fmt: skip
    choose, usual = random.Random(18), 0
    for _ in range(20_000):
        name = "".join(choose.choices(parts, k=choose.randint(1, 5)))
        name += choose.choice(("", ".whl", ".tar.gz", "-1.0-py3-none-any.whl", "-1.0.tar.gz"))
        try:
            release = release_of(name)
        except DistributionError:
            assert (name, project_of(name)) == (name, "")
            continue
        assert (name, project_of(name)) == (name, release[0])
        assert is_of(name, release[0], str(release[1]))
        usual += 1
    assert usual > 1_000


@pytest.mark.parametrize(
    ("name", "projects"),
    [
        ("my_dist-1.0.tar.gz", {"my-dist"}), ("my_dist-1.0-py3-none-any.whl", {"my-dist"}),
        ("my_dist-1.0.egg", {"my-dist"}), ("a-b-latest.tar.xz", {"a", "a-b"}),
        ("notes.txt", set()),
    ],
)  # fmt: skip
def test_a_file_belongs_to_a_project_also_if_it_is_not_served(
    name: str, projects: set[str]
) -> None:
    """Or else its name would lead to the fallback index."""
    assert projects_of(name) == projects
