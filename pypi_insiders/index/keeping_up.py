"""Examine the files of the distributions directory as they come."""

import logging
from collections.abc import Callable, Iterable
from typing import NoReturn

from pypi_insiders.index.directory_scan import LOOK_AGAIN_AFTER_S, DirectoryScan
from pypi_insiders.util.errors import InsidersError

_log = logging.getLogger(__package__)


def keep_up(scan: DirectoryScan, learn: Callable[[Iterable[str]], None]) -> NoReturn:
    """Examine new files until the process ends; see `Catalog.keep_up`."""
    is_first, is_patient, problem, bug = True, False, "", ""
    while True:
        # Before the refresh, so that news during it is not lost.
        scan.news.clear()
        try:
            scan.refresh(is_patient=is_patient)
        except InsidersError as error:
            # Once for each error, not every ten seconds for days.
            if error.message != problem:
                problem = error.message
                _log.error("%s; nothing is served until this is fixed", problem)
            scan.news.clear()
            scan.news.wait(LOOK_AGAIN_AFTER_S)
            is_patient = False
            continue
        if problem:
            problem = ""
            _log.info("%s is readable again", scan.directory)
        if is_first:
            is_first = False
            # Only after a successful listing: with a disk that is not mounted yet, the whole
            # cache would be dropped.
            scan.forget_gone()
        try:
            learn(scan.published.groups)
            while scan.examine_next():
                pass
        except Exception as error:
            # The names of what comes are still learned; requests read their own files.
            if repr(error) != bug:
                bug = repr(error)
                _log.exception("cannot read new files")
            is_patient = scan.news.wait(LOOK_AGAIN_AFTER_S)
            continue
        # The request that brought the news has listed the directory. A second listing at once would
        # cost as much, and delay that request.
        is_patient = scan.news.wait(scan.pause_s)
        if not is_patient:
            scan.look_again()
