"""Number the development releases of a branch."""

from dataclasses import dataclass

from packaging.version import Version

_SHORT = 7
"""Digits of the commit in a version, as `git describe` has them at least."""
_PARTS = 3


@dataclass(frozen=True)
class Numbering:
    """What the version of the head of a branch follows from."""

    commit: str
    """Full hash."""
    last: Version | None = None
    """The highest release that the branch contains; `None`: it contains none."""
    count: int = 0
    """The number of commits since then, or of all."""
    earlier: tuple[Version, ...] = ()
    """The versions of other commits that were built as development releases."""
    exact: Version | None = None
    """The version that this commit was built as before."""

    def version(self, stated: Version | None = None) -> Version:
        """Return the version of the head: a development release of the next release.

        Args:
            stated: the version in the files of the project; `None`: it is not known.
        """
        if self.exact is not None:
            return self.exact
        base = _next(self.last) if self.last else None
        named = Version(_base(stated, has_post=False)) if stated else None
        # A version that was raised after the last release is that of the next one. After 1.3.0rc1,
        # 1.3.0 is not: its development releases would be lower.
        if named and (self.last is None or Version(f"{named}.dev0") > self.last):
            base = str(named)
        return self._numbered(base or "0.0.0", self.count)

    def fits(self, found: Version) -> bool:
        """Return whether a version that a build found by itself may be published.

        It must be a development release that names the commit and nothing else, above the last
        release and above the earlier development releases of the same release.
        """
        if self.exact is not None:
            return found == self.exact
        return (
            found.is_devrelease
            and self._names_commit(found)
            and (self.last is None or found > self.last)
            and (found.dev or 0) >= self._least(_base(found))
        )

    def instead_of(self, found: Version) -> Version:
        """Return the version that replaces one that does not fit."""
        if self.exact is None and found.is_devrelease and (not self.last or found > self.last):
            return self._numbered(_base(found), found.dev or 0)
        return self.version(found)

    def _numbered(self, base: str, number: int) -> Version:
        number = max(number, self._least(base))
        return Version(f"{base}.dev{number}+g{self.commit[:_SHORT]}")

    def _least(self, base: str) -> int:
        """Return the lowest free number of a development release."""
        # After a force push the count may be lower than before, or that of another commit: it goes
        # on from the highest, so that no version is given twice and the new head is the newest.
        given = (
            version.dev
            for version in (*self.earlier, *([self.last] if self.last else []))
            if version.dev is not None and Version(_base(version)) == Version(base)
        )
        return max(given, default=-1) + 1

    def _names_commit(self, version: Version) -> bool:
        # As setuptools-scm writes it, `+g1a2b3c4`; the `g` is not part of the hash.
        digits = (version.local or "").removeprefix("g")
        return len(digits) >= _SHORT and self.commit.startswith(digits)


def _next(last: Version) -> str:
    """Return the release that follows the last one, such as 1.2.4 after 1.2.3."""
    # After 1.3.0.dev2 comes a higher one of 1.3.0, and not of 1.3.1.
    if last.is_devrelease:
        return _base(last)
    epoch = f"{last.epoch}!" if last.epoch else ""
    if last.pre is not None:
        kind, number = last.pre
        return f"{epoch}{'.'.join(map(str, last.release))}{kind}{number + 1}"
    # A third number: after 2024.1 or 1.2 may come 2024.1.1 and 1.2.1.
    parts = [*last.release, *[0] * (_PARTS - len(last.release))]
    parts[-1] += 1
    return epoch + ".".join(map(str, parts))


def _base(version: Version, *, has_post: bool = True) -> str:
    """Return a version without the parts of a development release and a local version."""
    text = version.base_version
    if version.pre is not None:
        text += "".join(map(str, version.pre))
    if has_post and version.post is not None:
        text += f".post{version.post}"
    return text
