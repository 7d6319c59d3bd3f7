#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_migration
short_description: Apply the pending database migrations of a Mastodon server
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Runs C(bin/rails db:migrate) as the app's user, with the environment of its service, when the database lacks migrations that the code
    has; does nothing otherwise.
  - Goes to PostgreSQL itself. When Mastodon reaches it through PgBouncer, the server behind it is read from C(pgbouncer.ini) of this host,
    or given by O(direct_host) and O(direct_port); that the connection is direct, and leads to the same database, is proven before
    anything is migrated.
  - Works in two phases (C(SKIP_POST_DEPLOYMENT_MIGRATIONS)) when there are migrations for before and for after the deployment, and
    restarts every process of Mastodon on this host after each. When the schema is too old for that, the services are stopped and all is
    done at once.
  - Holds a lock of the database, so that no two hosts migrate it at the same time, and refuses when the database is ahead of the code, when
    PostgreSQL is too old, or when another migration runs.
  - Where docker compose runs Mastodon, C(rails db:migrate) is run at once in the container of web, and the containers are restarted. A
    pooler and O(dump) are refused there, with what to do instead.
  - Migrations are not taken back by a rollback. Use O(dump) to have a dump to go back to.
options:
  state:
    description:
      - V(migrated) applies what is pending.
      - V(reported) only tells what is pending and what is ahead of the code.
    type: str
    choices: [migrated, reported]
    default: migrated
  dump:
    description:
      - Dump the database before it is migrated (C(pg_dump --format=custom)). V(true) writes below C(/var/backups/fediops.mastodon); a path
        names another directory, which must be there and which the app's user must be able to reach.
      - The dump is readable by root only. Nothing is begun when the filesystem has not the room for it.
    type: str
    default: 'false'
  direct_host:
    description:
      - Host, address, or directory of the socket of PostgreSQL itself, when a pooler that is not on this host stands before it.
    type: str
    default: ''
  direct_port:
    description:
      - Port of PostgreSQL itself; 5432 when only O(direct_host) is given. V(0) means not given.
    type: int
    default: 0
  release_lock:
    description:
      - End the idle session that holds the advisory lock of Rails' migrations. A migration that went through PgBouncer leaves such a lock
        behind. Only when it is certain that no migration of this database runs.
    type: bool
    default: false
extends_documentation_fragment:
  - fediops.mastodon._attributes.changes
  - fediops.mastodon._attributes.root
attributes:
  check_mode:
    description: Lists what would be migrated; nothing is written on the host or in the database.
    support: full
  diff_mode:
    description: Shows each migration as pending and applied.
    support: full
notes:
  - Other hosts with the same database need all their Mastodon processes restarted too, see RV(restart_everywhere).
seealso:
  - name: Upgrading to a new release
    description: What upstream says about migrations.
    link: https://docs.joinmastodon.org/admin/upgrading/
"""

EXAMPLES = r"""
- name: Migrate the database after a deployment, with a dump to go back to
  fediops.mastodon.mastodon_migration:
    dump: 'true'
  become: true
  run_once: true

- name: Migrate past a pooler on another host
  fediops.mastodon.mastodon_migration:
    direct_host: db1.internal.example
    direct_port: 5432
  become: true

- name: Ask what is pending
  fediops.mastodon.mastodon_migration:
    state: reported
  become: true
  register: migrations
"""

RETURN = r"""
pending:
  description: Numbers of the migrations that the database lacked when the module began, at most 50.
  returned: when the schema could be compared
  type: list
  elements: str
ahead:
  description: Numbers that the database knows and that are newer than every file of the code, at most 50.
  returned: when the schema could be compared
  type: list
  elements: str
run:
  description: Id of the journal of this change on the host.
  returned: when O(state=migrated) and not in check mode
  type: str
changes:
  description: What was done, or in check mode would be done, one line each.
  returned: when O(state=migrated)
  type: list
  elements: str
restart_everywhere:
  description: Whether all Mastodon processes on the other hosts with this database are to be restarted.
  returned: always
  type: bool
"""

import os

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._change.alone import alone
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import migrate_database
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey

SECONDS = 15.0


def report(module: AnsibleModule) -> dict[str, Any]:
    """What is pending and what is ahead; ends the module when it cannot be told."""
    facts = survey(["database"], SECONDS, 3600.0, module.params["root"], {})[0]
    database, probe = facts.get("database", {}), facts["probes"]["database"]
    schema = database.get("schema")
    if schema is None and module.params["state"] == "reported":
        why = (database.get("error") or {}).get("message") or probe.get("reason") or (
            "the database was never set up" if database.get("schema_missing") else "its files or its table could not be read")
        module.fail_json(msg="the schema could not be compared with the code: %s" % why)
    return {key: schema[key] for key in ("pending", "ahead")} if schema is not None else {}


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "state": {"type": "str", "choices": ["migrated", "reported"], "default": "migrated"},
            "dump": {"type": "str", "default": "false"},
            "direct_host": {"type": "str", "default": ""},
            "direct_port": {"type": "int", "default": 0},
            "release_lock": {"type": "bool", "default": False},
            "root": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="only root can do this; run with become: true")
    found = report(module)
    if module.params["state"] == "reported":
        module.exit_json(changed=False, restart_everywhere=False, **found)
    options = {key: module.params[key] for key in ("dump", "direct_host", "direct_port", "release_lock")}
    result = alone(module, "migrate_database", migrate_database.fix, options, module.params["root"])
    module.exit_json(restart_everywhere=result["changed"], **found, **result)


if __name__ == "__main__":
    main()
