"""unit_state: what is wrong with the units of a service."""

from pypi_insiders.systemd.unit_names import ONE, RELEASED, REQUESTS, WATCHER, confinement_of
from pypi_insiders.systemd.unit_state import UnitState, as_upgraded

OF_ONE, OF_ALL = confinement_of(ONE.service), confinement_of(WATCHER.service)


def test_what_an_earlier_version_lacks_is_out_of_date() -> None:
    """Its service is of that version. A lost unit, or one that is not confined, stays a problem."""
    missing = (REQUESTS, *ONE.units, RELEASED)
    before = UnitState(WATCHER, missing, (WATCHER.service,), unconfined=(OF_ONE, OF_ALL))
    assert as_upgraded(before) == UnitState(
        WATCHER,
        (REQUESTS,),
        (WATCHER.service, *ONE.units, RELEASED, OF_ONE),
        unconfined=(OF_ALL,),
    )
    current = before._replace(stale=(REQUESTS,))
    assert as_upgraded(current) == current
    partly = UnitState(WATCHER, (RELEASED,), (WATCHER.service,), unconfined=(OF_ONE,))
    assert as_upgraded(partly).unconfined == (OF_ONE,)
