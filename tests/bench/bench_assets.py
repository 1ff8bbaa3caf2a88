"""Measure an update of many repositories whose releases have wheels, side by side with curl."""

import json
import os
import shutil
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.message import Message  # noqa: TC003
from functools import partial
from pathlib import Path

import wheels
from bench_tools import COMMAND, home_environment, row, row_of_times, run, timed
from githost import Answer, GitHost, make_certificate
from projects import Project, create

MANY, AT_ONCE = 100, 16
ANSWER_S = 0.3
_API = "/api/v1/repos/me/"


class Forge:
    """Answers as Gitea does, each question after a while, and counts.

    Args:
        host: of the repositories.
        files: project to its wheel.
    """

    def __init__(self, host: GitHost, files: dict[str, Path]) -> None:
        self.questions, self.downloads = Counter[str](), Counter[str]()
        self.at_once = self.most_at_once = 0
        self._files = files
        self._counting = threading.Lock()
        self._ended = threading.Event()
        host.api = self._answer

    def end(self) -> None:
        """Answer at once what is left."""
        self._ended.set()

    def forget(self) -> None:
        """Count from nothing."""
        self.questions.clear()
        self.downloads.clear()
        self.most_at_once = 0

    def _answer(self, path: str, _headers: "Message[str, str]") -> Answer | None:
        is_file = path.startswith("/attachments/")
        if not (is_file or path.startswith(_API)):
            return None
        with self._counting:
            (self.downloads if is_file else self.questions)[path] += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self._ended.wait(ANSWER_S)  # as far away as a forge is
        with self._counting:
            self.at_once -= 1
        name = path.removeprefix("/attachments/").removeprefix(_API).partition("/")[0]
        file = self._files[name]
        if is_file:
            return 200, [("Content-Type", "application/octet-stream")], file.read_bytes()
        asset = {"name": file.name, "uuid": name, "size": file.stat().st_size}
        content = {"tag_name": "v1.0", "draft": False, "assets": [asset]}
        return 200, [("Content-Type", "application/json")], json.dumps(content).encode()


def assets(directory: Path) -> None:
    """Measure in an empty directory, and print lines of the table."""
    if shutil.which("curl") is None:
        print("curl: not installed")
        return
    certificate = make_certificate(directory)
    projects = [create(directory, f"insiders-bench-{n}", f"me/bench-{n}") for n in range(MANY)]
    files = {}
    for number, project in enumerate(projects):
        project.release("1.0")
        files[f"bench-{number}"] = wheels.wheel(directory / "made", project.name, "1.0")
    host = GitHost(directory / "git", certificate)
    forge = Forge(host, files)
    home = directory / "home"
    home.mkdir()
    environment = home_environment(home) | {
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_SSL_CAINFO": str(certificate),
        "SSL_CERT_FILE": str(certificate), "no_proxy": "localhost", "NO_PROXY": "localhost",
    }  # fmt: skip
    settings = home / ".config/pypi-insiders"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text("[watcher]\npublic-versions = false\n")
    (settings / "repos.toml").write_text(
        "".join(
            f'["me/bench-{number}"]\nproject = "{project.name}"\nassets = "only"\n'
            f'forge = "gitea"\nurl = "{host.url}/me/bench-{number}.git"\n'
            for number, project in enumerate(projects)
        )
    )
    update = partial(run, COMMAND, "update", env=environment)
    ours_s = timed(update)
    _check(forge, downloads=MANY)
    most = forge.most_at_once
    forge.forget()
    again_s = timed(update)
    _check(forge, downloads=0)
    forge.forget()
    other_s = timed(partial(_by_hand, host, projects, environment, directory))
    what = f"update, {MANY} repositories with a new wheel"
    row_of_times(what, ours_s, other_s, f"git fetch and 2 curl each, {AT_ONCE} at once")
    row("... questions, files, most at once", f"1, 1, {most}")
    row("... the next update, 1 question, no file", f"{again_s * 1000:.0f} ms")
    forge.end()
    host.close()


def _check(forge: Forge, downloads: int) -> None:
    """Require one question for each repository, and no file twice."""
    asked, loaded = forge.questions.values(), forge.downloads.values()
    assert (len(asked), set(asked)) == (MANY, {1}), forge.questions
    assert (len(loaded), set(loaded) | {1}) == (downloads, {1}), forge.downloads


def _by_hand(
    host: GitHost, projects: list[Project], environment: dict[str, str], directory: Path
) -> None:
    ca = ("--cacert", environment["SSL_CERT_FILE"], "--silent", "--fail", "--output")

    def one(number: int) -> None:
        name = f"bench-{number}"
        mirror = directory / "by-hand" / name
        run("git", "init", "--quiet", "--bare", mirror, env=environment)
        url = f"{host.url}/me/{name}.git"
        tags = "refs/tags/*:refs/tags/*"
        run("git", "-C", mirror, "fetch", "--quiet", "--filter=blob:none", url, tags,
            env=environment)  # fmt: skip
        for path in (f"{_API}{name}/releases/tags/v1.0", f"/attachments/{name}"):
            run("curl", *ca, mirror / "got", f"{host.url}{path}", env=environment)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(len(projects))))
