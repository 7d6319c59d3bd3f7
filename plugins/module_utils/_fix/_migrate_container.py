# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""migrate_database where docker compose runs Mastodon: in the running container of web, which has the code and the network.

All migrations at once: the new code runs already, or there would be nothing pending. Then the services are started anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._change import project
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change

APP_ROLES = ("web", "sidekiq", "streaming")
SECONDS = 24 * 3600.0
_NO = ("", "false", "no", "0", "none")


def migrate(change: Change, schema: dict[str, Any] | None, why_it_failed: Callable[[str], str]) -> None:
    """Refused wherever the way of an install without containers would do more than this one can."""
    if schema is None:
        raise Refused("the migrations of the database could not be compared with those of the image")
    if change.facts.get("database", {}).get("pooler"):
        raise Refused("the database is reached through a pooler, which migrations must not go through: docker compose run --rm "
                      "-e DB_HOST=… -e DB_PORT=5432 web bundle exec rails db:migrate with the address of PostgreSQL itself")
    if str(change.options.get("dump") or "").lower() not in _NO:
        raise Refused("this host has no pg_dump for a database in a container: docker compose exec -T db pg_dump -Fc … >file, then "
                      "without dump")
    mixed = change.facts.get("services", {}).get("compose", {}).get("mixed_versions")
    if mixed:
        raise Refused("the containers are not all of one release (%s): docker compose up -d first" % ", ".join(
            "%s %s" % (each["unit"], each["version"]) for each in mixed))
    web = next((unit for unit in change.units("web") if "pid" in unit and unit["sub_state"] == "running"), None)
    if web is None:
        raise Refused("no container of web runs, in which the migrations could be run")
    change.cannot_undo("applied migrations stay applied")
    argv = ["exec", "-T", web["service"], "bundle", "exec", "rails", "db:migrate"]
    done = project.run(change, argv, "migrate the database in %s: %s" % (web["name"], ", ".join(schema["pending"][:10])), SECONDS)
    if done is not None and done.rc != 0:
        raise HostError("db:migrate failed in %s: %s" % (web["name"], why_it_failed(done.output)))
    for unit in change.units(*APP_ROLES):
        if "pid" in unit:
            change.restart(unit["name"])
