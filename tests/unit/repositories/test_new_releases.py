"""repositories.new_releases: releases that wait for `release-command`."""

import json

import pytest
from fixtures import Person

from pypi_insiders.repositories import new_releases
from pypi_insiders.repositories.new_releases import NewRelease

_RELEASE = NewRelease("probe", "1.0", "v1.0", "a" * 40, "me/probe", ["probe-1.0.tar.gz"])


@pytest.mark.parametrize("project", ["\0", "../x", "/x", "", "Probe", "pro.be"])
def test_a_project_that_would_be_another_path_is_damage(person: Person, project: str) -> None:
    """The file of a release is found by its project and version."""
    new_releases.save(person.paths, _RELEASE)
    assert new_releases.ready(person.paths) == [_RELEASE]
    (path,) = person.paths.new_releases.glob("*/*.json")
    path.write_text(json.dumps(_RELEASE._replace(project=project)._asdict()))
    assert new_releases.ready(person.paths) == []
    assert not path.exists()
