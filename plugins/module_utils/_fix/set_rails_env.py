# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""RAILS_ENV and NODE_ENV: production, where they are not: in units by drop-in, in the login shell of the app's user by a marked line.

Neither has an effect in .env.production (docs.joinmastodon.org/admin/config). A login shell in which they are not set at all is as the
documentation has it (`RAILS_ENV=production bin/tootctl …`) and is left alone, unless the option `login_shell` is yes.
"""

from __future__ import annotations

import re

from typing import Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import drop_in, project_settings, unit_environment, units
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import services
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.environment import login_shell

TOPIC = "rails-env"
MARK = "# fediops.mastodon: Mastodon's commands run in production"
# Which file is read last at login, the first that exists: bash(1) INVOCATION, zsh(1) STARTUP/SHUTDOWN FILES, dash(1), ksh(1).
PROFILES = {"bash": (".bash_profile", ".bash_login", ".profile"), "zsh": (".zlogin", ".zprofile"),
            "sh": (".profile",), "dash": (".profile",), "ksh": (".profile",)}
NEW_PROFILE = {"zsh": ".zprofile"}


def fix(change: Change) -> None:
    wrong = [(unit, keys) for unit, keys in ((unit, _wrong_keys(unit)) for unit in _apps(change)) if keys]
    if "compose" in change.install:
        wanted = dict.fromkeys((key for _unit, keys in wrong for key in keys), "production")
        if wanted:
            project_settings.set_where_they_stand(change, wanted, _apps(change))
        return
    for unit, keys in wrong:
        unit_environment.refuse_when_hopeless(change, unit, TOPIC, dict.fromkeys(keys, "production"))
    shell_keys = _wrong_in_shell(change)
    for unit, keys in wrong:
        lines = unit_environment.lines(change, unit["name"], TOPIC, dict.fromkeys(keys, "production"))
        drop_in.write(change, unit["name"], TOPIC, lines)
        change.reload_units()
        change.restart(unit["name"])
    if shell_keys:
        _write_profile(change, shell_keys)


def _apps(change: Change) -> list[dict[str, Any]]:
    return [unit for unit in change.units("web", "sidekiq", "streaming") if unit["intended"]]


def _wrong_keys(unit: dict[str, Any]) -> list[str]:
    """What this unit must have as production and has not; NODE_ENV of Rails only when somebody set it."""
    needed = "NODE_ENV" if unit["role"] == "streaming" else "RAILS_ENV"
    own = unit["_env"]
    return [key for key in ("RAILS_ENV", "NODE_ENV") if own.get(key) != "production" and (key == needed or key in own)]


# -- login shell -------------------------------------------------------------------------------------------------------


def _wrong_in_shell(change: Change) -> list[str]:
    told = change.facts.get("environment", {}).get("login_shell", {})
    if not told.get("asked"):
        return []
    also_unset = str(change.options.get("login_shell", "")).lower() in ("yes", "true", "always")
    values = {"RAILS_ENV": told.get("rails_env"), "NODE_ENV": told.get("node_env")}
    return [key for key, value in values.items() if value != "production" and (value is not None or also_unset)]


def _write_profile(change: Change, keys: list[str]) -> None:
    owner = change.owner()
    path = _profile(change, owner)
    text = change.text(path) or ""
    kept = [line for line in text.split("\n") if not line.endswith(MARK)]
    marked = [line for line in text.split("\n") if line.endswith(MARK)]
    keys = sorted({*keys, *re.findall(r"\b([A-Z]+_ENV)=", " ".join(marked))}, reverse=True)
    line = "export %s  %s" % (" ".join(key + "=production" for key in keys), MARK)
    body = "\n".join(kept)
    wanted = body + ("" if not body or body.endswith("\n") else "\n") + line + "\n"
    if wanted != text:
        # The rest of a profile is its owner's business and may hold any secret.
        told = ("\n".join(marked), line)
        change.write(path, wanted, owner=None if change.exists(path) else owner, shown=told)
    if change.check_mode:
        return
    answer = login_shell(change.host, change.install)
    for key in keys:
        if answer.get(key.lower()) != "production":
            # Raised after the write: the run takes it back.
            raise Refused("%s=production at the end of %s has no effect, the shell of %s says %s: something behind it sets it again or "
                          "leaves early; look there for %s" % (key, path, owner.user, answer.get(key.lower()), key))


def _profile(change: Change, owner: Owner) -> str:
    shell = owner.shell.rsplit("/", 1)[-1]
    names = PROFILES.get(shell)
    if names is None:
        raise Refused("which file the login shell %s of %s reads is not known; set RAILS_ENV=production there" % (owner.shell, owner.user))
    for name in names:
        # bash takes the first that exists and can be read.
        if change.exists(owner.home + "/" + name):
            return owner.home + "/" + name
    return owner.home + "/" + NEW_PROFILE.get(shell, ".profile")


def check(change: Change) -> str:
    names = change.step["services"].get("restart", [])
    for unit in services.discover(change.host):
        if unit["name"] in names and "pid" in unit and _wrong_keys(unit):
            return "%s of %s is still not production" % (" and ".join(_wrong_keys(unit)), unit["name"])
    for name in names:
        state = units.properties(change.host, name, "ActiveState").get("ActiveState")
        if state in ("failed", "activating"):
            return "%s is %s; journalctl -u %s says why" % (name, state, name)
    return ""
