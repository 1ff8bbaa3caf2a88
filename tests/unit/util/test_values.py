"""values: frozen dataclasses as those of the standard library, that cost little to declare."""

import dataclasses
from dataclasses import FrozenInstanceError, asdict, field, fields, replace

import pytest

from pypi_insiders.util.values import dataclass


@dataclass(frozen=True)
class Ours:
    """A value."""

    name: str
    size: int = 1
    files: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("too small")


@dataclasses.dataclass(frozen=True)
class Theirs:
    """The same, of the standard library."""

    name: str
    size: int = 1
    files: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False, repr=False)


def test_it_is_what_the_standard_library_makes() -> None:
    """In all that a dataclass is used for here."""
    mine, other = Ours("a", files=["x"]), Theirs("a", files=["x"])
    assert [(it.name, it.default) for it in fields(Ours)] == [
        (it.name, it.default) for it in fields(Theirs)
    ]
    assert asdict(mine) == asdict(other)
    assert repr(mine) == repr(other).replace("Theirs", "Ours")
    assert replace(mine, size=2) == Ours("a", 2, ["x"])
    assert mine == Ours("a", files=["x"], note="another")
    assert mine != Ours("a", files=["y"])
    assert mine != other  # type: ignore[comparison-overlap]
    assert Ours("a").files is not Ours("a").files


def test_what_may_be_hashed_is() -> None:
    @dataclass(frozen=True)
    class Key:
        """A value that can be a key."""

        name: str

    assert {Key("a"): 1}[Key("a")] == 1
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        hash(Ours("a"))


@pytest.mark.parametrize("name", ["name", "other"])
def test_nothing_in_it_can_be_changed(name: str) -> None:
    value = Ours("a")
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, "b")
    with pytest.raises(FrozenInstanceError):
        delattr(value, name)
    assert value == Ours("a")


def test_a_wrong_call_is_told_as_of_any_constructor() -> None:
    with pytest.raises(TypeError, match=r"Ours\.__init__\(\) missing 1 required .*: 'name'"):
        Ours()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="too small"):
        Ours("a", -1)
