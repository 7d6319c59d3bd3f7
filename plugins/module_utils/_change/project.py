# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's own docker compose, for what only it can do: make containers anew with what their files say (private)."""

from __future__ import annotations

import contextlib
import os
import re

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import Acted

PROGRAMS = (["docker", "compose"], ["docker-compose"])
SECONDS = 600.0
STOP_SECONDS = 90  # Sidekiq gives unfinished jobs back within 25 s; the engine alone would kill it after 10
# What compose looks for where it is told no files.
BASES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OUR_OVERRIDE = "docker-compose.override.yml"
OURS = "# Made by fediops.mastodon. To take all of it back, remove this file; then docker compose up -d\n"
_CHOSEN = re.compile(r"(?m)^\s*(?:export\s+)?COMPOSE_FILE\s*=")
OVERRIDES = ("compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml")


def command(change: Change) -> list[str]:
    """docker compose with the project's name and files, to be run in its directory."""
    project = change.install["compose"]
    if not project["directory"].startswith("/") or not change.host.is_dir(project["directory"]):
        raise Refused("the directory of the project %s, %r, is not there any more" % (project["project"], project["directory"]))
    # The generation that made the containers, for the other would make them anew under other names. A bare docker-compose can be either.
    wanted = _generation(project["version"])
    chosen = next((program for program in PROGRAMS if _generation(_version(change, program)) == wanted), None)
    if chosen is None:
        raise Refused("docker compose %s, which made the containers, is not installed on this host for root, nor another of its "
                      "generation" % project["version"])
    # An override may come and go between an act and its undo.
    files = [] if finds_files_itself(project) else project["files"]
    return [*chosen, "-p", project["project"], *(word for path in files for word in ("-f", path))]


def finds_files_itself(project: dict[str, Any]) -> bool:
    """Whether the project is made of the files that compose finds in its directory without being told."""
    folders, names = zip(*(os.path.split(os.path.join(project["directory"], path)) for path in project["files"] or [""]))
    there = [name for name in BASES + OVERRIDES if os.path.lexists(os.path.join(project["directory"], name))]
    # Which of two it takes depends on its release; an override of somebody else that the containers were not made with stays out.
    foreign = [name for name in there if name not in names and not is_ours(os.path.join(project["directory"], name))]
    return (set(folders) == {project["directory"]} and names[0] in BASES and all(name in OVERRIDES for name in names[1:]) and not foreign
            and not _CHOSEN.search(_head(os.path.join(project["directory"], ".env"))))


def is_ours(path: str) -> bool:
    """Whether it is an override file that this collection made."""
    return os.path.basename(path) == OUR_OVERRIDE and _head(path).startswith(OURS)


def _head(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1 << 16)
    except OSError:
        return ""


@contextlib.contextmanager
def made_anew(change: Change, units: Sequence[dict[str, Any]], stop_seconds: int = STOP_SECONDS) -> Iterator[None]:
    """What is written meanwhile takes effect in these containers (docker compose up -d), and is out of effect again when it is taken back.

    Written down before: an undo goes backwards, so that the files are as they were when it comes to the containers.
    `stop_seconds`: what the old ones get to stop.
    """
    if not units:  # without a name compose would start whatever its files name
        yield
        return
    names = [unit["name"] for unit in units]
    argv = [*command(change), "up", "-d", "-t", str(stop_seconds), "--no-deps"]
    for service in sorted({unit["service"] for unit in units}):
        many = sum(each.get("service") == service for each in change.install["units"])
        argv += ["--scale", "%s=%d" % (service, many)] if many > 1 else []  # which else only the compose file would say
    argv += list(dict.fromkeys(unit["service"] for unit in units))
    what = "docker compose up -d %s" % " ".join(unit["service"] for unit in units)
    directory = change.install["compose"]["directory"]
    seconds = SECONDS + stop_seconds
    change.before("made_anew", what, argv=argv, directory=directory, containers=names, seconds=seconds)
    yield
    done = change.command(argv, what, seconds, cwd=directory, quiet=True)
    if done is not None and done.rc != 0:
        raise HostError("%s failed: %s" % (what, done.last_line))  # cleaned of secrets by the step that it ends
    change.asked.awaited += names


def make_anew_again(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """Undo of made_anew, when the files are as before.

    Compose quotes lines of the file of settings in its errors, and an undo has nobody who knows its secrets: nothing of them is told.
    """
    say(operation["what"])
    seconds = operation.get("seconds", SECONDS)  # journals of older releases have none
    done = act(operation["argv"], seconds, None, None, operation["directory"])
    if done.rc != 0:
        ended = "was not done within %d s" % seconds if done.rc is None else "ended with %d" % done.rc
        raise HostError("%s %s; run it in %s to see why" % (operation["what"], ended, operation["directory"]))


def run(change: Change, words: Sequence[str], what: str, seconds: float) -> Acted | None:
    """An act; None in check mode."""
    return change.command([*command(change), *words], what, seconds, cwd=change.install["compose"]["directory"])


def _generation(version: str) -> int:
    """1 or 2, which the later ones belong to; 0 when it cannot be told."""
    found = re.match(r"v?(\d+)\.", version)
    return min(2, int(found.group(1))) if found else 0


def _version(change: Change, program: list[str]) -> str:
    try:
        done = change.host.run([*program, "version", "--short"], 20.0)
    except HostError:
        return ""
    return done.out.decode("utf-8", "replace").strip() if done.rc == 0 else ""
