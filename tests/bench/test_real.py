"""How a distribution that was built here is compared with the registry's."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from real import table
from real_build import Outcome, Release, hinted
from real_compare import compare, counterpart, judge

_METADATA = """\
Metadata-Version: 2.4
Name: probe
Version: 1.0
Requires-Dist: one>=1,<2; extra == "more"
Requires-Dist: two
Description: words
"""
_RESPELLED = """\
Metadata-Version: 2.4
Name: probe
Version: 1.0
Requires-Dist: two
Requires-Dist: one (<2,>=1) ; extra == 'more'

words
"""
_PLACE, _WHEEL = (f"probe-1.0.dist-info/{name}" for name in ("METADATA", "WHEEL"))
_DATE = (2024, 1, 1, 0, 0, 0)


def wheel(
    directory: str,
    members: dict[str, str],
    *,
    date: tuple[int, int, int, int, int, int] = _DATE,
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel."""
    path = Path(directory) / f"probe-1.0-{tag}.whl"
    path.parent.mkdir(exist_ok=True)
    files = {_PLACE: _METADATA, _WHEEL: "Generator: backend 1\n"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, **members}.items():
            archive.writestr(zipfile.ZipInfo(name, date), content)
    return path


def sdist(directory: str, members: dict[str, str]) -> Path:
    """Write an sdist."""
    path = Path(directory) / "probe-1.0.tar.gz"
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"PKG-INFO": _METADATA, **members}.items():
            info = tarfile.TarInfo(f"probe-1.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return path


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_equal_files_are_equal() -> None:
    found = compare(wheel("here", {"a.py": ""}), wheel("there", {"a.py": ""}))
    assert found.is_same
    assert found.is_unpacked_same


def test_another_packing_is_told_and_nothing_is_wrong() -> None:
    later = wheel("there", {"a.py": ""}, date=(2025, 1, 1, 0, 0, 0))
    found = compare(wheel("here", {"a.py": ""}), later)
    assert (found.is_same, found.is_unpacked_same, found.packing) == (False, True, ("times",))
    assert judge(found).wrong == []


def test_fields_of_other_order_and_spelling_are_equal() -> None:
    found = compare(wheel("here", {}), wheel("there", {_PLACE: _RESPELLED}))
    assert found.fields == {}
    assert judge(found).wrong == []


def test_fields_of_other_values_are_wrong() -> None:
    other = _METADATA.replace("two", "three")
    found = compare(wheel("here", {}), wheel("there", {_PLACE: other}))
    assert judge(found).wrong == ["Requires-Dist: two here, three there"]


def test_fields_of_another_backend_are_explained_and_no_others() -> None:
    other = _METADATA.replace("2.4", "2.1").replace("two", "three")
    found = compare(
        wheel("here", {}), wheel("there", {_PLACE: other, _WHEEL: "Generator: backend 2\n"})
    )
    judgement = judge(found, found.backends)
    assert judgement.explained == [
        "made by backend 1 here, by backend 2 there", "fields of the backend",
        "files of the backend",
    ]  # fmt: skip
    assert judgement.wrong == ["Requires-Dist: two here, three there"]


def test_members_that_differ_are_wrong() -> None:
    here = wheel("here", {"a.py": "1", "b.py": "", "list": "x,\ny"})
    there = wheel("there", {"a.py": "2", "c.py": "", "list": "y,\nx"})
    found = compare(here, there)
    assert judge(found).wrong == [
        "b.py only here",
        "c.py only there",
        "a.py of other content",
    ]
    assert judge(found).explained == ["lists in the order of a directory"]


def test_files_of_an_sdist_that_the_repository_lacks_are_explained() -> None:
    there = sdist("there", {"cache": "", "tracked": "", "probe.egg-info/SOURCES.txt": ""})
    found = compare(sdist("here", {}), there)
    judgement = judge(found, tracked={"tracked"})
    assert judgement.wrong == ["tracked only there"]
    assert judgement.explained == ["sdist with files that are not in the repository"]


def test_a_repaired_wheel_is_the_counterpart() -> None:
    native = "probe-1.0-cp311-cp311-linux_x86_64.whl"
    arm, musl, repaired = (
        f"probe-1.0-cp311-cp311-{platform}.whl"
        for platform in (
            "manylinux2014_aarch64", "musllinux_1_2_x86_64",
            "manylinux_2_17_x86_64.manylinux2014_x86_64",
        )
    )  # fmt: skip
    assert counterpart(native, [arm, musl, repaired]) == repaired
    assert counterpart(native, [arm, musl, repaired.replace("cp311", "cp312")]) is None
    assert counterpart("probe_x-1.0.tar.gz", [native, "probe.x-1.0.tar.gz"]) == "probe.x-1.0.tar.gz"


def test_what_was_compiled_may_differ() -> None:
    tag = "cp311-cp311-linux_x86_64"
    here = wheel("here", {"a.so": "1", "a.py": "1"}, tag=tag)
    there = wheel("there", {"a.so": "2", "a.py": "2", "probe.libs/b.so": ""}, tag=tag)
    judgement = judge(compare(here, there))
    assert (judgement.wrong, judgement.explained) == (["a.py of other content"], ["compiled"])


def test_only_complete_commands_are_taken_from_hints() -> None:
    said = (
        "hint: `pypi-insiders repos set me/probe project=PROJECT`\n"
        "hint: `pypi-insiders repos set me/probe tags='probe-{version}'`\n"
        "next: `pypi-insiders update me/probe`\n"
    )
    assert hinted(said) == ["pypi-insiders repos set me/probe tags='probe-{version}'"]


def test_the_table_counts_what_is_wrong() -> None:
    right = Release("v1.0", "1.0", wheels=1, same=1, unpacked_same=1)
    outcomes = [
        Outcome("a/right", releases=[right]),
        Outcome("a/wrong", releases=[right, Release("v1.1", "1.1", wrong=["x | y"], wheels=1)]),
        Outcome("a/told", releases=[Release("v1.1", "1.1", wrong=["x"])], reason="as it is"),
        Outcome("a/unknown", releases=[Release("v1.1", "1.1", is_public=False)]),
    ]
    lines = list(table(outcomes))
    results = [line.split(" | ")[7] for line in lines[2:6]]
    assert results == ["right", "wrong", "explained", "wrong"]
    assert "1.1: x \\| y" in lines[3]
    assert lines[7].startswith("1 of 4 projects right, 1 explained, 2 wrong. Of 3 wheels that")
    assert "2 are equal byte for byte, 2 when unpacked." in lines[7]
