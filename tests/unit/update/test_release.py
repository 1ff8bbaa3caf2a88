"""failures: which failures of a tag last."""

import errno

import pytest

from pypi_insiders.builder.errors import BuildError
from pypi_insiders.index.distribution import DistributionError
from pypi_insiders.update.failures import is_lasting


@pytest.mark.parametrize(
    ("why", "lasts"),
    [
        (OSError(errno.EMFILE, "x"), False),
        (OSError(errno.ENFILE, "x"), False),
        (OSError(errno.ENOMEM, "x"), False),
        (MemoryError(), False),
        (OSError(errno.EACCES, "x"), True),
        (ValueError("x"), True),
    ],
)
def test_what_this_process_lacks_is_found_in_any_error(why: Exception, lasts: bool) -> None:
    """Whatever it was taken for on its way."""

    def fail(hidden: bool) -> None:
        try:
            raise why
        except Exception as error:
            if hidden:
                raise BuildError("it does not build") from None
            raise DistributionError("it is damaged") from error

    with pytest.raises(DistributionError) as caught:
        fail(hidden=False)
    told = BuildError("it does not build")
    told.__cause__ = caught.value
    assert is_lasting(told) is lasts
    with pytest.raises(BuildError) as hidden:
        fail(hidden=True)
    assert is_lasting(hidden.value) is lasts
