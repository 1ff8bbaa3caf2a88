"""Which tags are releases, and which of them are to be built."""

import time

import pytest
from packaging.version import Version

from pypi_insiders.repositories.tags import (
    Choice,
    Pattern,
    Rules,
    choose,
    demand_release,
    overlooked,
    summary,
    unbuilt,
    version_of,
)
from pypi_insiders.util.errors import InsidersError


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("9.5.3-insiders-4.49.0", "9.5.3+insiders.4.49.0"),
        ("v1.0-insiders-2", "1.0+insiders.2"),
        ("1.0-Insiders", "1.0+insiders"),
        ("2.0rc1-insiders-1", "2.0rc1+insiders.1"),
        ("1.2.0.1.1.0", "1.2.0.1.1.0"),
        ("v1.0", "1.0"),
        ("V1.0", "1.0"),
        ("v2.0-rc1", "2.0rc1"),
        ("1.0-1", "1.0.post1"),
        ("1!2.0", "1!2.0"),
        ("1.0+local", "1.0+local"),
        ("2.1.x", None),
        ("server-6.19.1", None),
        ("1.0-docker", None),
        ("1.0-insiders-", None),
        ("1.0-insiders+x", None),
        ("insiders-1.0", None),
        ("release/1.0", None),
        ("latest", None),
        ("v", None),
        ("", None),
        ("-1.0", None),
        ("--upload-pack=x", None),
        ("ünïcode-1.0", None),
        ("\N{ARABIC-INDIC DIGIT ONE}.0", None),
        ("\N{FULLWIDTH DIGIT ONE}.0-insiders-1", None),
        ("1.0-insiders-\N{ARABIC-INDIC DIGIT ONE}", None),
    ],
)
def test_version_of(tag: str, version: str | None) -> None:
    assert version_of(tag) == (None if version is None else Version(version))


@pytest.mark.parametrize(
    ("pattern", "tag", "version"),
    [
        ("*", "v1.0", "1.0"),
        ("v*", "v2", "2"),
        ("v*", "3", None),
        ("v1.[0-5]", "v1.4", "1.4"),
        ("server-{version}", "server-6.19.1", "6.19.1"),
        ("server-{version}", "server-9.5.3-insiders-4.49.0", "9.5.3+insiders.4.49.0"),
        ("server-{version}", "client-6.19.1", None),
        ("server-{version}", "my-server-6.19.1", None),
        ("server-{version}", "server-latest", None),
        ("rel_{version}", "rel_1_2_3", "1.2.3"),
        ("{version}", "1_2_3", "1.2.3"),
        ("rel-{version}", "rel-1-2-3", "1.2.3"),
        ("rel_{version}", "rel_1_2_3_rc1", "1.2.3rc1"),
        ("rel-{version}", "rel-1.2-1", "1.2.post1"),  # PEP 440, "Implicit post releases"
        ("rel_*", "rel_1_2_3", None),
        ("*", "1_2_3", None),
        ("rel/{version}/?", "rel/v1/x", "1"),
        ("{version}+py*", "1.0+py3", "1.0"),
        ("*", "latest", None),
    ],
)
def test_patterns_say_where_the_version_is(pattern: str, tag: str, version: str | None) -> None:
    assert Pattern(pattern).version_of(tag) == (None if version is None else Version(version))


def _choose(tags: str, built: str = "", rules: Rules = Rules()) -> Choice:  # noqa: B008 - frozen
    """Choose among tags whose commit is `old` in both."""
    return choose(dict.fromkeys(tags.split(), "old"), dict.fromkeys(built.split(), "old"), rules)


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        ("1.0 1.10 1.9", ("1.10",)),
        ("1.0 2.0rc1 2.0.dev3", ("1.0",)),
        ("1.0a1 1.0rc1 1.0b7 0.9.dev1", ("1.0rc1",)),
        ("9.5.3 9.5.3-insiders-4.9.0 9.5.3-insiders-4.10.0", ("9.5.3-insiders-4.10.0",)),
        ("v1.0 1.0 1.0.0", ("1.0.0",)),
        ("v1.0 1.0", ("1.0",)),
        ("", ()),
        ("latest", ()),
    ],
)
def test_the_first_build_is_the_newest_final_release_or_else_pre_release(
    tags: str, chosen: tuple[str, ...]
) -> None:
    assert _choose(tags).build == chosen


@pytest.mark.parametrize(
    ("tags", "built", "chosen"),
    [
        ("0.9 1.0 1.9 1.10 1.2 2.0rc1", "1.0", ("2.0rc1", "1.10", "1.9", "1.2")),
        ("1.0 1.1 1.2", "1.0 1.2", ("1.1",)),  # a fix of an older line, made later
        ("0.8 1.0 1.1", "1.0 0.9", ("1.1",)),  # what counts is the first, not the lowest
        ("1.0 2.0", "1.0 2.0", ()),
        ("1.0", "2.0", ()),  # the tag that was built is gone
        ("1.0rc1 1.0", "1.0rc1", ("1.0",)),
        ("1.0 v1.0 1.1 v1.1 1.1.0 1.2", "1.0 1.1", ("1.2",)),  # other spellings of what is built
        ("1.0 v1.1 1.1", "1.0", ("1.1",)),  # two spellings: one of them, always the same
        ("latest 1.0 1.1", "latest", ("1.1", "1.0")),
    ],
)
def test_later_builds_are_all_new_versions_above_the_first_one_built(
    tags: str, built: str, chosen: tuple[str, ...]
) -> None:
    assert _choose(tags, built).build == chosen


def test_moved_tags_and_tags_that_are_no_version_are_named_and_not_built() -> None:
    refs = {"nightly": "x", "1.1": "new", "1.0": "a", "1.2": "b", "docs": "y"}
    built = {"1.0": "a", "1.1": "old", "0.9": "gone"}
    assert choose(refs, built, Rules()) == Choice(
        build=("1.2",), moved=("1.1",), passed_over=("docs", "nightly")
    )


@pytest.mark.parametrize(
    ("refs", "chosen", "passed_over"),
    [
        # Of tags on one commit the most exact counts: `v1` moves, and a date is no version.
        ({"v1.2.3": "a", "v1": "a", "v1.2": "a"}, "v1.2.3", ("v1", "v1.2")),
        ({"v1.2.3": "a", "20240115": "a"}, "v1.2.3", ("20240115",)),
        ({"1.2.3": "a", "1.2.3.1": "a"}, "1.2.3.1", ("1.2.3",)),
        # On another commit as well, where `v2` was moved along, or is a version of its own.
        ({"v2.0.0": "a", "v2": "b"}, "v2.0.0", ()),
        ({"v1.9": "a", "v2": "b"}, "v2", ()),
        # Neither pre-releases nor other series are names of another release.
        ({"1.0rc1": "a", "1.0.0": "a"}, "1.0.0", ()),
        ({"v1.3.0rc1": "a", "v1.3": "a"}, "v1.3", ()),
        ({"v1.9.9": "a", "v2": "a"}, "v2", ()),
        ({"2.0": "a", "1.0.0": "a"}, "2.0", ()),
        ({"9.5.3": "a", "9.5.3-insiders-4.49.0": "a"}, "9.5.3-insiders-4.49.0", ()),
        # A date would be the highest for ever; it counts where all versions are such.
        ({"v1.2.3": "a", "20240115": "b", "202401151230": "c"}, "v1.2.3",
         ("20240115", "202401151230")),
        ({"20240115": "a", "20240116": "b"}, "20240116", ()),
        ({"2023.1": "a", "20240116": "b"}, "20240116", ()),
        ({"v1.2.3": "a", "20241315": "b"}, "20241315", ()),
    ],
)  # fmt: skip
def test_a_tag_that_is_no_release_of_its_own_is_passed_over(
    refs: dict[str, str], chosen: str, passed_over: tuple[str, ...]
) -> None:
    choice = choose(refs, {}, Rules())
    assert (choice.build, choice.passed_over) == ((chosen,), passed_over)
    assert not {*passed_over} & {*unbuilt(refs, (), Rules())}


@pytest.mark.parametrize(
    ("first", "version", "chosen"),
    [
        ("20240115", "1.2.3", ("v1.3.0",)),
        ("v1.2", "2024.1", ("v1.3.0",)),
        ("v1.4", "1.4", ()),
        ("v1.2", None, ("v1.3.0",)),
        # A date beside it hides nothing.
        ("v1.2.3", "1.2.3", ("v1.3.0",)),
        ("latest", "1.2", ("v1.3.0",)),
    ],
)
def test_what_was_built_first_counts_by_the_lower_of_its_versions(
    first: str, version: str | None, chosen: tuple[str, ...]
) -> None:
    """The one that the tag says, and the one that was built."""
    produced = {first: version} if version else {}
    refs = {first: "a", "v1.3.0": "b", "v1.1": "c", "20240115": "d"}
    refs[first] = "a"
    assert choose(refs, {first: "a"}, Rules(), (), produced).build == chosen


def test_what_another_tag_of_the_commit_has_built_is_not_built_again() -> None:
    """As an earlier version did, of a date or of `v2`."""
    refs = {"20240115": "a", "v1.2.3": "a", "v1.3.0": "b"}
    choice = choose(refs, {"20240115": "a"}, Rules(backfill=9), (), {"20240115": "1.2.3"})
    assert choice.build == ("v1.3.0",)


@pytest.mark.parametrize(
    ("refs", "produced"),
    [
        # Moved along, or not, or on the very commit whose build was named otherwise.
        ({"v2": "b", "v2.0.0": "b"}, {"v2": "2.0.0rc1"}),
        ({"v2": "a", "v2.0.0": "b"}, {"v2": "2.0.0rc1"}),
        ({"v2": "a", "v2.0.0": "a"}, {"v2": "2.0.0rc1"}),
        ({"v1.9.0": "a", "v2": "b", "v2.0.0": "b"}, {"v2": "1.9.0"}),
        ({"v2.0.0rc1": "a", "v2.0.0": "a"}, {"v2.0.0rc1": "2.0.0rc1"}),
    ],
)
def test_what_was_built_as_another_version_does_not_hide_the_final_one(
    refs: dict[str, str], produced: dict[str, str]
) -> None:
    """An alias that was built as a pre-release; with --all-tags neither."""
    built = dict.fromkeys(produced, "a")
    assert choose(refs, built, Rules(), (), produced).build == ("v2.0.0",)
    assert unbuilt(refs, built, Rules(), produced)[0] == "v2.0.0"
    # What was built is not built again, as whatever it was built.
    assert unbuilt(built, built, Rules(), produced) == ()


def test_a_built_version_is_not_built_again_from_another_tag() -> None:
    """Of an Insiders tag neither, whose build leaves out the local version."""
    tag = "9.5.3-insiders-4.49.0"
    refs = {f"v{tag}": "b", tag: "a"}
    for version in ("9.5.3+insiders.4.49.0", "9.5.3"):
        produced = {f"v{tag}": version}
        assert choose(refs, {f"v{tag}": "b"}, Rules(), (), produced).build == ()
        assert unbuilt(refs, {f"v{tag}": "b"}, Rules(), produced) == ()


def test_lower_versions_than_the_first_are_named() -> None:
    """Also in the update of the first build; what was built later is not among them."""
    tags = "1.0 1.1 1.2 1.3rc1 1.3 docs"
    assert _choose(tags).lower == ("1.3rc1", "1.2", "1.1", "1.0")
    assert _choose(tags, "1.3").lower == ("1.3rc1", "1.2", "1.1", "1.0")
    assert _choose(tags, "1.2 1.0").lower == ("1.1",)
    assert _choose(tags, "1.0").lower == ()


@pytest.mark.parametrize(
    ("tags", "fitting"),
    [
        ("rel_1_2_3", "rel_{version}"),
        ("server-1.0 server-1.1 client-1.0", "server-{version}"),
        ("release-4-0-0rc1 nightly", "release-{version}"),
        ("release/2024/1.0", "release/2024/{version}"),
        ("1_2_3", "{version}"),
        ("other-1.0 other-1.1 probe/v1.0", "probe/v{version}"),
        ("rel\u00a0x-2.1 latest", None),
        ("latest docs", None),
        ("what?1.0", None),
    ],
)
def test_where_no_tag_is_a_version_the_fitting_pattern_is_offered(
    tags: str, fitting: str | None
) -> None:
    with pytest.raises(InsidersError, match="none of its tags is a version") as caught:
        demand_release(tags.split(" "), Pattern(), "me/probe")
    command = f"`pypi-insiders repos set me/probe tags='{fitting}'`"
    expected = command if fitting else "releases are built from tags such as v1.0"
    assert caught.value.hint == expected


_SERIES = "0.11.0 0.23.0 probe-v1.0.0 probe-v1.1.0 probe-v1.2.0 probeling-v1.0 probeling-v1.9"


@pytest.mark.parametrize(
    ("tags", "message", "fitting"),
    [
        (f"{_SERIES} probeling-v2 probeling-v3.0 probeling-v4.0", "3 tags such as probe-v1.2.0",
         "probe-v{version}"),
        ("0.1 rel\u00a0x-1.0 rel_1_0 rel_1_1", "2 tags such as rel_1_1", "rel_{version}"),
        ("0.1 the.app-1.0 the.app-1.1 docs", "2 tags such as the.app-1.1", "the.app-{version}"),
    ],
)  # fmt: skip
def test_newer_tags_of_another_form_are_not_overlooked(
    tags: str, message: str, fitting: str
) -> None:
    """Those of the project whose name the repository has come first."""
    found = overlooked(tags.split(" "), "me/probe", "the-app")
    assert found is not None
    assert found[0].startswith(f"skipped {message}, newer than 0.")
    assert found[1] == f"`pypi-insiders repos set me/probe tags='{fitting}'`"


@pytest.mark.parametrize(
    "tags", ["app-1.0 app-1.1", "1.2 app-1.0 app-1.1", "0.1 0.2 app-1.0 app-1.1", "0.1 docs old",
             "v1.0 docs-2.0 docs-2.1 docs-3.0"]
)  # fmt: skip
def test_older_or_fewer_tags_of_another_form_are_none_of_ours(tags: str) -> None:
    """Nor are those of another project, whatever their versions."""
    assert overlooked(tags.split(), "me/probe") is None


@pytest.mark.parametrize(
    ("tags", "built", "pre", "chosen"),
    [
        ("1.0 2.0rc1", "", True, ("2.0rc1",)),
        ("1.0 2.0rc1", "", False, ("1.0",)),
        ("2.0rc1", "", False, ()),
        ("1.0 1.1 2.0rc1", "1.0", False, ("1.1",)),
        ("1.0 1.1 2.0rc1", "1.0", None, ("2.0rc1", "1.1")),
    ],
)
def test_pre_releases_are_releases_or_not(
    tags: str, built: str, pre: bool | None, chosen: tuple[str, ...]
) -> None:
    assert _choose(tags, built, Rules(pre=pre)).build == chosen


def test_only_tags_of_the_right_form_count() -> None:
    """Of a repository with two projects one is built; the other's tags are not even named."""
    tags = "server-1.0 server-1.1 server-next client-3.0 v2.0"
    choice = _choose(tags, "server-1.0", Rules(Pattern("server-{version}")))
    assert choice == Choice(build=("server-1.1",), passed_over=("server-next",))


def test_of_many_new_tags_the_newest_are_built_and_the_others_left_out_for_good() -> None:
    rules = Rules(max_new=2)
    choice = _choose("1.0 1.1 1.2 1.3 1.4", "1.0", rules)
    assert (choice.build, choice.left_out) == (("1.4", "1.3"), ("1.2", "1.1"))
    refs = dict.fromkeys(["1.0", "1.1", "1.2", "1.3", "1.4", "1.2.1"], "old")
    built = dict.fromkeys(["1.0", "1.4", "1.3"], "old")
    assert choose(refs, built, rules, choice.left_out).build == ("1.2.1",)


@pytest.mark.parametrize(
    ("tags", "built", "backfill", "chosen"),
    [
        ("0.8 0.9 1.0 1.1rc1", "", 2, ("1.0", "0.9")),
        ("0.8 0.9 1.0", "1.0", 2, ("0.9",)),
        ("0.8 0.9 1.0", "1.0 0.9", 2, ()),
        ("0.8 0.9 1.0 1.1", "1.0", 3, ("1.1", "0.9")),
        ("1 2 3 4 5 6 7", "", 7, ("7", "6", "5", "4", "3", "2", "1")),  # more than max_new
    ],
)
def test_as_many_of_the_newest_as_wanted(
    tags: str, built: str, backfill: int, chosen: tuple[str, ...]
) -> None:
    assert _choose(tags, built, Rules(backfill=backfill)).build == chosen


def test_all_that_was_never_built() -> None:
    tags = dict.fromkeys(["latest", "v0.1", "0.1", "1.0", "2.0rc1", "1.5"], "old")
    assert unbuilt(tags, ["1.5"], Rules()) == ("2.0rc1", "1.0", "0.1")
    assert unbuilt(tags, ["1.5"], Rules(pre=False)) == ("1.0", "0.1")


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ("a b c d e", "a, b, c, d, e"),
        ("a b c d e f g", "a, b, c, d, e and 2 more"),
    ],
)
def test_summary(tags: str, text: str) -> None:
    assert summary(iter(tags.split())) == text


def test_thousands_of_tags_on_one_commit_are_chosen_from_at_once() -> None:
    """Each is read once, and not compared with each other: that took 12 s of processor time."""
    refs = dict.fromkeys(
        [f"v1.{minor}.0" for minor in range(2000)] + ["v1", "v1.7", "20240115"], "a"
    )
    started_s = time.process_time()
    choice = choose(refs, {}, Rules())
    assert time.process_time() - started_s < 3
    assert (choice.build, choice.passed_over) == (("v1.1999.0",), ("20240115", "v1", "v1.7"))
