"""Users, also in containers, where the own one may have no name."""

import os
import pwd

import pytest

from pypi_insiders.util.users import user_name


def test_a_user_is_named_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variables of who has started the program say."""
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    assert user_name() == pwd.getpwuid(os.getuid()).pw_name
    assert user_name(0) == "root"


def test_a_user_without_a_name_is_a_number() -> None:
    unused = max(entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid < 2**31) + 12345
    assert user_name(unused) == str(unused)
