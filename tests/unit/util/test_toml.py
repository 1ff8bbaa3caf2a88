"""toml: what others wrote is read in a time that grows with its length."""

import time

import pytest

from pypi_insiders.util import toml

_PARTS = "a" + ".a" * 63


@pytest.mark.parametrize(
    "text",
    [
        f"{_PARTS} = 1\n[{_PARTS}b]\n",
        # Dots that are of no key.
        f"a = '{'1.2.3, ' * 1000}'\nb = [{', '.join(['1.5'] * 1000)}]\n# {'... ' * 100}\n",
    ],
)
def test_what_people_write_is_read(text: str) -> None:
    assert "a" in toml.parse(text)


@pytest.mark.parametrize("part", ["a", "'a b'", '"a\\"b"', "a-1 ", "\té"])
@pytest.mark.parametrize("form", ["{} = 1", "[{}]", "[[{}]]", "b = {{ {} = 1 }}"])
def test_a_key_of_many_parts_is_refused_before_it_is_parsed(part: str, form: str) -> None:
    """tomllib takes seconds for one of 20,000."""
    text = "x = 1\n" + form.format(".".join([part] * 20_000))
    began = time.process_time()
    with pytest.raises(ValueError, match=r"^a key has more than 64 parts \(at line 2\)$"):
        toml.parse(text)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    "text",
    ["." * 500_000, ".'" * 250_000, '.\\"' * 200_000, ". " * 250_000, (_PARTS[1:-2] + "! ") * 2000],
    ids=["dots", "quotes", "escapes", "spaces", "parts"],
)
def test_no_text_makes_the_check_itself_slow(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match="line 1"):
        toml.parse(text)
    assert time.process_time() - began < 2
