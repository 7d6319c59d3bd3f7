# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of Debian and its relatives: what an installation would do is known before it is done (private, may change any time)."""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import Acted, act
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

# Nobody is there to answer, and needrestart would restart the services of this server in the midst of a run.
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "APT_LISTCHANGES_FRONTEND": "none"}
OPTIONS = ("-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
           "-o", "Acquire::http::Timeout=30", "-o", "Acquire::Retries=2")
LOOK_SECONDS = 60.0
UPDATE_SECONDS = 300.0
REMOVE_SECONDS = 600.0
_NAME = re.compile(r"^[a-z0-9][a-z0-9+.-]*(?::[a-z0-9]+)?$")


class Plan(NamedTuple):
    """What an installation would do; `trouble`: why it cannot be done, in apt's words."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    trouble: str


def rehearse(host: Host, packages: Sequence[str]) -> Plan:
    """What `apt-get install --reinstall` of these packages would do; changes nothing and needs no lock."""
    done = host.run(["apt-get", "-s", "-q", "--no-install-recommends", "--reinstall", "install", "--", *packages], LOOK_SECONDS)
    return parsed(done.out.decode("utf-8", "replace"), done.err.decode("utf-8", "replace"), done.rc)


def parsed(out: str, err: str, rc: int | None) -> Plan:
    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []
    for line in out.splitlines():
        installs = re.match(r"Inst (\S+) (\[)?", line)
        if installs and _NAME.match(installs.group(1)):
            (changed if installs.group(2) else added).append(installs.group(1))
        removes = re.match(r"Remv (\S+)", line)
        if removes:
            removed.append(removes.group(1))
    impossible = re.search(r"(?m)^Reinstallation of .* is not possible.*$", out)
    errors = re.findall(r"(?m)^E: (.*)$", err)
    trouble = impossible.group(0) if impossible else "" if rc == 0 else errors[0] if errors else "apt-get gave no answer"
    return Plan(added, changed, removed, trouble[:300])


def installed(host: Host) -> dict[str, str]:
    """Package -> state of dpkg (ii installed, rc only its configuration is left)."""
    done = host.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"], LOOK_SECONDS)
    if done.rc != 0:
        raise HostError("dpkg-query gave no list of packages")
    return {words[-1]: words[0] for words in (line.split() for line in done.out.decode("ascii", "replace").splitlines()) if len(words) > 1}


def damaged(host: Host, packages: Sequence[str]) -> list[str]:
    """Those of which programs or libraries are gone (documentation may be left out on purpose)."""
    found = []
    for package in packages:
        done = host.run(["dpkg", "--verify", package], LOOK_SECONDS)
        if re.search(r"(?m)^missing .*/(?:s?bin|lib\S*)/", done.out.decode("utf-8", "replace")):
            found.append(package)
    return found


def package_with(host: Host, name: str) -> str:
    """The installed package that brought a file of this name; empty when none did."""
    done = host.run(["dpkg", "-S", "*/" + name], LOOK_SECONDS)
    found = re.match(r"([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)?: ", done.out.decode("utf-8", "replace"))
    return found.group(1) if found else ""


def install(change: Change, packages: list[str], seconds: float, no_lists: str = "") -> Plan:
    """Install or repair these packages; what is added is journaled first (`packages`). Lists are updated when apt cannot do without.

    `no_lists`: what to do where they could not be updated.
    """
    plan = rehearse(change.host, packages)
    if plan.trouble:
        if change.check_mode:
            change.note("apt-get update", "", plan.trouble)
            change.note("packages", "", ", ".join(packages))
            return plan
        failed = _update(change)
        plan = rehearse(change.host, packages)
        if plan.trouble:
            told = "apt-get cannot install %s: %s" % (", ".join(packages), plan.trouble)
            raise Refused("%s%s; apt-get update: %s" % (no_lists and no_lists + ": ", told, failed) if failed else told)
    if plan.removed:
        raise Refused("to install %s apt-get would remove %s; sort that out by hand" % (", ".join(packages), ", ".join(plan.removed[:10])))
    before = installed(change.host)
    what = "packages: " + "; ".join(part for part in ("new " + ", ".join(plan.added) if plan.added else "",
                                                      "repaired or upgraded " + ", ".join(plan.changed) if plan.changed else "") if part)
    if not plan.added:
        change.cannot_undo("files of installed packages were put back; nobody wants them gone again")
    if not change.before("packages", what, added=[name for name in plan.added if before.get(name.split(":")[0]) != "ii"],
                         configured=[name for name in plan.added if before.get(name.split(":")[0]) == "rc"]):
        return plan
    done = _install(change, packages, seconds)
    if done.rc != 0 and re.search(r"Failed to fetch|404  ?Not Found|Unable to fetch", done.output):
        _update(change)  # the lists name versions that the archive has replaced since
        done = _install(change, packages, seconds)
    if done.rc != 0:
        raise HostError("apt-get install %s %s" % (" ".join(packages), "was not done within %d s" % seconds if done.rc is None else
                                                   "failed: " + _errors(done.output)))
    return plan


def _install(change: Change, packages: list[str], seconds: float) -> Acted:
    done = change.command(["apt-get", *OPTIONS, "--no-install-recommends", "--reinstall", "install", "--", *packages],
                          "install " + ", ".join(packages), seconds, environment=ENVIRONMENT, quiet=True)
    if done is None:
        raise RuntimeError("nothing is installed in check mode")
    return done


def _update(change: Change) -> str:
    """Why it failed, in apt's words; empty when it did not. Lists of packages are no configuration, and nothing to take back."""
    done = change.command(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::http::Timeout=30", "update"],
                          "update the lists of packages", UPDATE_SECONDS, environment=ENVIRONMENT, quiet=True)
    failed = _errors(done.output) if done is not None and done.rc != 0 else ""
    if failed:
        change.say("apt-get update: " + failed)
    return failed


def take_back(operation: dict[str, Any], say: Callable[[str], None]) -> None:
    """Remove exactly what the step added, unless something that came later needs it."""
    host = Host(float("inf"))
    now = installed(host)
    names = [name for name in operation["added"] if _NAME.match(name) and now.get(name.split(":")[0], "rc") != "rc"]
    if not names:
        return
    say("removing %s" % ", ".join(names))
    act(["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"], REMOVE_SECONDS, environment=ENVIRONMENT)
    simulated = host.run(["apt-get", "-s", "-q", "remove", "--", *names], LOOK_SECONDS)
    removed = re.findall(r"(?m)^Remv (\S+)", simulated.out.decode("utf-8", "replace"))
    others = sorted({name.split(":")[0] for name in removed} - {name.split(":")[0] for name in names})
    if others:
        raise HostError("packages that came later need them: %s" % ", ".join(others[:10]))
    for purge in (True, False):
        part = [name for name in names if (name not in operation["configured"]) == purge]
        if not part:
            continue
        done = act(["apt-get", *OPTIONS, "-o", "APT::Get::AutomaticRemove=false", *(["--purge"] if purge else []), "remove", "--", *part],
                   REMOVE_SECONDS, environment=ENVIRONMENT)
        if done.rc != 0:
            raise HostError("apt-get remove %s: %s" % (" ".join(part)[:200], _errors(done.output)))


def _errors(output: str) -> str:
    found = re.findall(r"(?m)^(?:E|W|dpkg): (?:error )?(.*)$", output)
    lines = [line for line in output.splitlines() if line.strip()]
    return (found[0] if found else lines[-1] if lines else "it said nothing")[:300]
