# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mastodon_env for a dotenv file: what is asked for, what would have no effect there, the edit (private, may change any time)."""

from __future__ import annotations

import contextlib
import re

from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import MASK
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import RAILS_FILES, parse
from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv_edit import EditError, edited
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import (
    _AT_EXEC,
    _BEFORE_DOTENV,
    SECRET,
    URL_WITH_PASSWORD,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.install import _dotenv_gem
from ansible_collections.fediops.mastodon.plugins.module_utils._versions import rules

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

_KEY = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
_FOR_EVER = re.compile(r"^(?:SECRET_KEY_BASE|OTP_SECRET|ACTIVE_RECORD_ENCRYPTION_\w+|VAPID_(?:PRIVATE|PUBLIC)_KEY)$")
MAX_VALUE_CHARACTERS = 65536


class Wish(NamedTuple):
    """What the user wants; `problem`: one sentence when that cannot be."""

    wanted: dict[str, str]
    hidden: frozenset[str]
    unwanted: list[str]
    replace: bool
    restart: bool
    problem: str = ""

    @classmethod
    def of(cls, settings: dict[str, Any], secrets: dict[str, Any], remove: list[str], replace: bool, restart: bool) -> Wish:
        problem = ""
        for key in [*settings, *secrets, *remove]:
            if not _KEY.match(str(key)):
                problem = "%r is no name of a setting: letters, digits and underscores, a letter first" % str(key)[:60]
        for key in settings:
            if SECRET.search(str(key)) or URL_WITH_PASSWORD.search(str(settings[key])):
                problem = "%s is a secret or holds one: give it under secrets, where its value is not logged" % str(key)[:60]
        twice = sorted({*settings} & {*secrets} | ({*settings} | {*secrets}) & {*remove})
        if twice:
            problem = "%s is asked for twice" % twice[0][:60]
        for key, value in [*settings.items(), *secrets.items()]:
            if value is None or isinstance(value, (dict, list)):
                problem = "the value of %s is not a text" % str(key)[:60]
            elif len(str(value)) > MAX_VALUE_CHARACTERS or "\0" in str(value):
                problem = "the value of %s is too long or holds a zero byte" % str(key)[:60]
        wanted = {str(key): _text(value) for key, value in [*settings.items(), *secrets.items()]}
        return cls(wanted, frozenset(secrets), list(remove), replace, restart, problem)


def apply(change: Change, path: str, wish: Wish, needs_restart: list[str], warnings: list[str]) -> None:
    install = change.install
    if not install.get("found") and not path:
        raise Refused("no Mastodon was found on this host; give root or path")
    root = install.get("root", "")
    composed = "compose" in install
    if not path and install.get("deployment") == "docker" and not composed:
        raise Refused("Mastodon runs in containers here that no docker compose made: give the path of the file that they get (path=)")
    path = path or (install["compose"]["directory"] if composed else root) + "/.env.production"
    gem = _dotenv_gem(install)
    text = change.text(path) or ""
    before = parse(text.encode("utf-8", "surrogateescape"), {}, gem).values
    if root and path.rsplit("/", 1)[0] in (root, install.get("root")):
        _refuse_without_effect(install, path.rsplit("/", 1)[-1], wish, warnings)
        _refuse_losses(install, before, wish)
    elif composed:
        _refuse_losses(install, before, wish)
        _refuse_quotes(wish)
    try:
        after = edited(text, wish.wanted, [key for key in wish.unwanted if key in before], gem)
    except EditError as problem:
        raise Refused("%s: %s" % (path, problem)) from None
    told = (_shown(before, wish), _shown(parse(after.encode("utf-8", "surrogateescape"), {}, gem).values, wish))
    new = not change.exists(path)
    if after == text:
        return
    if composed:
        running = [unit for unit in change.units("web", "sidekiq", "streaming") if "pid" in unit and unit.get("manager") == "compose"]
        with project.made_anew(change, running) if wish.restart else contextlib.nullcontext():
            change.write(path, after, mode=0o640 if new else None, shown=told)
        needs_restart += [] if wish.restart else [unit["name"] for unit in running]
        return
    change.write(path, after, mode=0o640 if new else None, owner=change.owner() if new else None, shown=told)
    for unit in change.units("web", "sidekiq", "streaming"):
        if "pid" not in unit:
            continue
        if not wish.restart:
            needs_restart.append(unit["name"])
        elif unit["role"] == "web":
            change.reload(unit["name"])  # a hot restart reads dotenv anew
        else:
            change.restart(unit["name"])


def _refuse_quotes(wish: Wish) -> None:
    """Compose 1 takes quotes for a part of the value, compose 2 fills in $: only what needs neither means the same everywhere."""
    for key, value in wish.wanted.items():
        if not re.match(r"^[^\s\"'#$\\`]*$", value):
            raise Refused("the value of %s has a character that the generations of docker compose read differently (space, quote, #, $ or "
                          "backslash): write it yourself, then docker compose up -d" % key)


def _refuse_without_effect(install: dict[str, Any], name: str, wish: Wish, warnings: list[str]) -> None:
    apps = [unit for unit in install["units"] if unit["role"] in ("web", "sidekiq", "streaming") and not unit["shim"] and unit["intended"]]
    rails = [unit for unit in apps if unit["role"] != "streaming"]
    for key in wish.wanted:
        if key in _BEFORE_DOTENV:
            raise Refused("%s has no effect in %s: config/puma.rb and config/sidekiq.yml are read before it; set it for the unit "
                          "(unit=)" % (key, name))
        if key in _AT_EXEC:
            raise Refused("%s has no effect in %s: it is read when the process is started; set it for the unit (unit=)" % (key, name))
        owners = [unit["name"] for unit in rails if unit["_env"].get(key, wish.wanted[key]) != wish.wanted[key]]
        if owners and len(owners) == len(rails):
            raise Refused("%s has no effect in %s: %s set it themselves, and that wins; set it there (unit=)" % (
                key, name, ", ".join(owners)))
        if owners:
            warnings.append("%s of %s has no effect for %s, which sets it itself" % (key, name, ", ".join(owners)))
        for earlier in RAILS_FILES[:RAILS_FILES.index(name)] if name in RAILS_FILES else ():
            if install.get("_files", {}).get(earlier, {}).get("keys", {}).get(key, wish.wanted[key]) != wish.wanted[key]:
                raise Refused("%s has no effect in %s: %s defines it, is read first and wins; set it there (path=)" % (key, name, earlier))
        if key == "REDIS_NAMESPACE" and tuple(install.get("version", {}).get("number", (0,))) >= (4, 4):
            raise Refused("REDIS_NAMESPACE must not be set since Mastodon 4.4, which does not start with it")


def _refuse_losses(install: dict[str, Any], before: dict[str, str], wish: Wish) -> None:
    required = rules(tuple(install.get("version", {}).get("number", (99,)))).required_keys
    for key in wish.unwanted:
        if key in before and (key in required or _FOR_EVER.match(key)) and not wish.replace:
            raise Refused("%s is needed for what was encrypted or signed with it; replace_secrets removes it all the same" % key)
    for key, value in wish.wanted.items():
        if _FOR_EVER.match(key) and before.get(key) and before[key] != value and not wish.replace:
            raise Refused("%s has another value already: what was encrypted or signed with it would be lost (replace_secrets)" % key)


def _shown(values: dict[str, str], wish: Wish) -> str:
    """The keys in question, one a line, secrets masked."""
    lines = []
    for key in sorted({*wish.wanted, *wish.unwanted}):
        if key in values:
            secret = key in wish.hidden or SECRET.search(key) or URL_WITH_PASSWORD.search(values[key]) or key.endswith("_URL")
            lines.append("%s=%s\n" % (key, MASK if secret else values[key]))
    return "".join(lines)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
