#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_env
short_description: Set and remove settings of a Mastodon server
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Sets and removes keys of C(.env.production), or variables of one unit by a drop-in of our own.
  - Comments, order, quotes, owner, mode, SELinux context and links of the file stay. A value is written only in a way that the dotenv of
    this version of Mastodon reads back as it was asked for, with every other key as before; otherwise the module refuses.
  - Refuses what would have no effect there, and says where it belongs - for example C(WEB_CONCURRENCY) in C(.env.production), which Puma
    reads before that file, or a key that a unit sets itself.
  - Where docker compose runs Mastodon, the file is C(.env.production) in the directory of the project; there, all settings have effect once
    the containers are made anew, which O(restart) has C(docker compose up -d) do. Values that the generations of compose read differently
    (spaces, quotes, C(#), C($)) are refused.
options:
  settings:
    description:
      - Keys and the values they are to have. Numbers and truth values are best quoted.
    type: dict
    default: {}
  secrets:
    description:
      - The same for passwords and keys, whose values are never shown or logged.
    type: dict
    default: {}
  remove:
    description:
      - Keys that are not to be defined.
    type: list
    elements: str
    default: []
  path:
    description:
      - The dotenv file. When empty, C(.env.production) of the Mastodon checkout.
    type: path
    default: ''
  unit:
    description:
      - Set the variables for this unit (V(mastodon-web), V(mastodon-sidekiq.service)) and not in a file.
      - Not for secrets; everybody on the host may read the environment of a unit with C(systemctl show).
    type: str
    default: ''
  replace_secrets:
    description:
      - Also replace C(SECRET_KEY_BASE), C(OTP_SECRET), C(ACTIVE_RECORD_ENCRYPTION_*) and C(VAPID_*) where they have another value already.
        What was encrypted or signed with the old ones is lost then.
    type: bool
    default: false
  restart:
    description:
      - Have the processes take up what changed - web by a hot restart, Sidekiq drained first. With V(false), RV(needs_restart) tells which.
    type: bool
    default: false
extends_documentation_fragment:
  - fediops.mastodon._attributes.changes
  - fediops.mastodon._attributes.root
attributes:
  check_mode:
    description: Tells what would change; nothing is written on the host.
    support: full
  diff_mode:
    description: Shows each key before and after, values of secrets masked.
    support: full
notes:
  - C(mastodon_fix) with O(fediops.mastodon.mastodon_fix#module:state=rolled_back) and RV(run) takes a change back.
"""

EXAMPLES = r"""
- name: Send mail by another server
  fediops.mastodon.mastodon_env:
    settings:
      SMTP_SERVER: smtp.example.org
      SMTP_PORT: '587'
    secrets:
      SMTP_PASSWORD: "{{ vault_smtp_password }}"
    remove: [SMTP_DOMAIN]
    restart: true
  become: true

- name: Give Puma three workers, which .env.production cannot
  fediops.mastodon.mastodon_env:
    unit: mastodon-web
    settings:
      WEB_CONCURRENCY: '3'
    restart: true
  become: true
"""

RETURN = r"""
changes:
  description: The files and units that were changed, or in check mode would be.
  returned: success
  type: list
  elements: str
needs_restart:
  description: Units whose processes still have the settings of before.
  returned: success
  type: list
  elements: str
run:
  description: Id of the journal of this change on the host.
  returned: when not in check mode
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils import _env_file, _env_unit
from ansible_collections.fediops.mastodon.plugins.module_utils._change.alone import alone
from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "remove": {"type": "list", "elements": "str", "default": []},
            "path": {"type": "path", "default": ""},
            "unit": {"type": "str", "default": ""},
            "replace_secrets": {"type": "bool", "default": False, "no_log": False},
            "restart": {"type": "bool", "default": False},
            "root": {"type": "path", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    if params["unit"] and params["path"]:
        module.fail_json(msg="give unit or path, not both")
    wish = _env_file.Wish.of(params["settings"], params["secrets"], params["remove"], params["replace_secrets"], params["restart"])
    if wish.problem:
        module.fail_json(msg=wish.problem)
    warnings: list[str] = []
    needs_restart: list[str] = []

    def function(change: Change) -> None:
        if params["unit"]:
            _env_unit.apply(change, params["unit"], wish, needs_restart)
        else:
            _env_file.apply(change, params["path"], wish, needs_restart, warnings)

    done = alone(module, "mastodon_env", function, {}, params["root"])
    for text in warnings:
        module.warn(text)
    module.exit_json(needs_restart=needs_restart, **done)


if __name__ == "__main__":
    main()
