"""Declare frozen dataclasses that cost little before their first value is made."""

import operator
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from dataclasses import dataclass as _dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414  # what mypy takes it for
else:

    def dataclass(cls: type | None = None, **options: bool) -> Any:
        """Declare a dataclass: a frozen one of ours, or any other of the standard library.

        To `fields`, `replace` and `asdict` both are the same. The standard library compiles six
        methods for each class when its module is imported, which takes 0.5 ms, and `status`
        imports more than fifty. Of ours all classes share them, and the constructor is compiled
        when it is called first.
        """
        if options == {"frozen": True}:
            return _frozen
        return _dataclass(cls, **options)


def _frozen(cls: type) -> type:
    _dataclass(init=False, repr=False, eq=False)(cls)
    own = {
        "__init__": _constructor_of(cls),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__eq__": _equals,
        "__hash__": _hash,
        "__repr__": _represent,
    }
    for name, method in own.items():
        if name not in ("__repr__", "__eq__", "__hash__") or name not in cls.__dict__:
            setattr(cls, name, method)
    return cls


def _constructor_of(cls: type) -> Callable[..., None]:
    """Make a constructor that puts the real one in its place."""

    def first(self: Any, *arguments: Any, **keywords: Any) -> None:
        made = _compile(cls)
        setattr(cls, "__init__", made)  # noqa: B010  # mypy forbids the other form
        made(self, *arguments, **keywords)

    return first


def _compile(cls: Any) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_factory": MISSING}
    parameters, lines = [], []
    for item in fields(cls):
        name, value = item.name, item.name
        if item.default is not MISSING:
            names[f"_{name}"] = item.default
            parameters.append(f"{name}=_{name}")
        elif item.default_factory is not MISSING:
            names[f"_{name}"] = item.default_factory
            parameters.append(f"{name}=_factory")
            value = f"_{name}() if {name} is _factory else {name}"
        else:
            parameters.append(name)
        lines.append(f" _set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    # As the standard library does it; the names are those of fields.
    exec(f"def __init__({', '.join(['self', *parameters])}):\n" + "\n".join(lines), names)  # noqa: S102
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"  # for the message of a wrong call
    return made


def _refuse(_self: object, name: str, *_value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot change field {name!r}")


def _compared(value: Any) -> Any:
    cls = type(value)
    if "_compared" not in cls.__dict__:
        names = [item.name for item in fields(cls) if item.compare]
        cls._compared = operator.attrgetter(*names) if names else bool  # no method: not bound
    return cls.__dict__["_compared"](value)


def _equals(self: object, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: object) -> int:
    return hash(_compared(self))


def _represent(self: Any) -> str:
    shown = (f"{it.name}={getattr(self, it.name)!r}" for it in fields(self) if it.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
