"""published: a snapshot that no change touches."""

from pypi_insiders.index.metadata_cache import Entry, Identity
from pypi_insiders.index.packed_entry import pack
from pypi_insiders.index.published import Entries, ListedFile, Project, PublishedFiles

OLD, NEW, ODD = "a-1.0.tar.gz", "b-1.0.tar.gz", "a-1.0.tgz"


def listed(name: str, project: str) -> ListedFile:
    """A file that was examined, and is served if it belongs to a project."""
    problem = None if project else "it is neither a wheel nor an sdist"
    entry = Entry(name, Identity(1, 1, 1), project, "1.0", problem=problem)
    return ListedFile(name, project, 1, pack(entry))


def test_a_change_makes_another_snapshot() -> None:
    """Whoever reads the one before goes on to see what it had; only projects of changes differ."""
    first = PublishedFiles().with_changes([], [listed(OLD, "a"), listed(ODD, "")])
    page = first.page("a", first.of_project("a"))
    second = first.with_changes([], [listed(NEW, "b")])
    third = second.with_changes([OLD], [])
    assert [set(it.files) for it in (first, second, third)] == [
        {OLD, ODD},
        {OLD, ODD, NEW},
        {ODD, NEW},
    ]
    assert [it.projects for it in (first, second, third)] == [("a",), ("a", "b"), ("b",)]
    assert (first.pages["a"] is page, second.pages["a"] is page, third.pages) == (True, True, {})
    assert [file.name for file in third.groups["a"]] == [ODD]
    assert third.summary == "1 project, 1 file"


def test_of_a_rejected_file_the_project_stays() -> None:
    """Its name must not lead to the fallback."""
    entry = Entry(OLD, Identity(1, 1, 1), "a", "1.0", problem="damaged")
    file = ListedFile(OLD, "a", 1, pack(entry))
    snapshot = PublishedFiles().with_changes([], [file])
    assert (snapshot.projects, snapshot.summary) == ((), "0 projects, 0 files")
    assert snapshot.page("a", [file]) == Project("a", (), {})


def test_the_entries_of_a_project_are_a_sequence() -> None:
    """Of new objects each time; equal to those of other objects, and to a tuple."""
    files = [listed(OLD, "a"), listed(NEW, "a")]
    entries, others = Entries(files), Entries([listed(OLD, "a"), listed(NEW, "a")])
    first, second = entries
    assert (first.name, second.name) == (OLD, NEW)
    assert (len(entries), entries[0], entries[-1], entries[1:]) == (2, first, second, (second,))
    assert (list(reversed(entries)), entries[0] is first) == ([second, first], False)
    assert entries == others == (first, second)
    assert hash(entries) == hash(others)
    assert entries != Entries(files[:1])


def test_each_entry_is_unpacked_once_in_either_order() -> None:
    unpacked: list[str] = []

    class Counted(ListedFile):
        @property
        def entry(self) -> Entry | None:
            unpacked.append(self.name)
            return super().entry

    entries = Entries([Counted(name, "a", 1, listed(name, "a").known) for name in (OLD, NEW)])
    assert [entry.name for entry in (*entries, *reversed(entries))] == [OLD, NEW, NEW, OLD]
    assert unpacked == [OLD, NEW, NEW, OLD]
