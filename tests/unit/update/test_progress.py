"""progress: what an update reports while it runs."""

from pypi_insiders.update.progress import Activity, Progress


def test_the_account_of_an_update_in_one_line() -> None:
    """Checks and builds are counted, the latest step is named; the same is not told twice."""
    shown: list[tuple[str, Activity | None]] = []
    told: list[str] = []
    progress = Progress(lambda *what: shown.append(what), told.append)
    progress.expect("check", 2)
    progress.begin("me/a", "check")
    progress.begin("me/b", "check")
    progress.expect("build", 3)
    progress.end("me/a")
    progress.end("me/a")
    progress.begin("me/a", "fetch")
    progress.end("me/b")
    progress.begin("me/a", "build", "v2")
    progress.begin("me/b", "build", "v1")
    progress.end("me/b")
    progress.expect("build", -1)
    progress.begin("me/a", "publish", "2")
    progress.end("me/a")
    progress.tell("done")
    progress.tell("done")
    assert told == [
        "checking 1 of 2",
        "checking 2 of 2",
        "checking 2 of 2, fetching me/a",
        "fetching me/a",
        "building me/a v2 (1 of 3)",
        "building me/b v1 (2 of 3) and 1 more",
        "building me/a v2 (1 of 3)",
        "publishing me/a 2",
        "done",
    ]
    assert [(name, step and str(step)) for name, step in shown] == [
        ("me/a", "checking"),
        ("me/b", "checking"),
        ("me/a", None),
        ("me/a", "fetching"),
        ("me/b", None),
        ("me/a", "building v2 (1 of 3)"),
        ("me/b", "building v1 (2 of 3)"),
        ("me/b", None),
        ("me/a", "publishing 2"),
        ("me/a", None),
    ]
    assert list(progress.seconds("me/a")) == ["check", "fetch", "build", "publish"]
    assert list(progress.seconds("me/b")) == ["check", "build"]
    assert progress.seconds("me/none") == {}
    spent = sum(progress.seconds("me/a").values())
    assert 0 < spent < progress.elapsed_s
