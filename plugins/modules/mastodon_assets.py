#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_assets
short_description: Keep the compiled assets of Mastodon in step with its code
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Builds C(public/packs) and C(public/assets) with C(bin/rails assets:precompile) as the user of Mastodon, when they are missing, broken
    or older than the code, and restarts the web process without an interruption.
  - Builds in a mount namespace of its own beside what is served, which stays as it is until the new assets are whole, whatever becomes of
    the build.
  - Can also bring assets that another host built from the same commit, for servers with too little memory to build.
  - The old assets are kept; M(fediops.mastodon.mastodon_fix) with O(fediops.mastodon.mastodon_fix#module:state=rolled_back) restores them.
options:
  state:
    description:
      - V(reported) tells what is missing or stale, and changes nothing.
      - V(built) builds when needed.
      - V(packed) builds when needed, and brings an archive of the assets to O(dest) on the controller.
      - V(copied) serves the assets of the archive O(src) of the controller. The sources of the assets must be the same on both hosts.
    type: str
    choices: [reported, built, packed, copied]
    default: built
  src:
    description:
      - For V(copied), archive on the controller, made by V(packed).
    type: path
  dest:
    description:
      - For V(packed), file on the controller to write the archive to.
    type: path
  force:
    description:
      - Build although nothing is missing or stale.
    type: bool
    default: false
  deadline_seconds:
    description:
      - A build that takes longer is ended, in seconds.
    type: int
    default: 1800
  root:
    description:
      - Directory of the Mastodon checkout. When empty it is found by what the services and processes of the host run. A host that only
        builds runs none, and needs it.
    type: path
    default: ''
  archive:
    description:
      - Path of the archive on the host. The action plugin fills it in.
    type: path
    default: ''
  expected:
    description:
      - What the archive O(src) says of itself. The action plugin fills it in.
    type: dict
    default: {}
extends_documentation_fragment:
  - fediops.mastodon._attributes.changes
attributes:
  action:
    description: Has an action plugin, which brings archives from and to the controller.
    support: full
  check_mode:
    description: Shows what would be done; nothing is changed on the host.
    support: full
  diff_mode:
    description: Shows what changes.
    support: full
notes:
  - Commands of Mastodon are run as its own user.
  - Needs systemd. The dependencies of JavaScript are installed with Yarn when C(node_modules) is missing or older than C(yarn.lock); gems
    are not.
seealso:
  - module: fediops.mastodon.mastodon_fix
"""

EXAMPLES = r"""
- name: Build what an upgrade has left behind
  fediops.mastodon.mastodon_assets:
  become: true

- name: Build on the machine with enough memory
  fediops.mastodon.mastodon_assets:
    state: packed
    root: /home/mastodon/live
    dest: /tmp/mastodon-assets.tar.gz
  become: true
  delegate_to: build.example
  run_once: true

- name: And serve it here
  fediops.mastodon.mastodon_assets:
    state: copied
    src: /tmp/mastodon-assets.tar.gz
  become: true
"""

RETURN = r"""
needed:
  description: Why a build is needed, empty when none is.
  returned: when RV(version) is known and O(state) is V(reported)
  type: str
version:
  description: Version of the checked-out code.
  returned: when O(state) is V(reported) or V(packed)
  type: str
sources:
  description: Digest of what the assets are built from. Hosts with the same one build the same.
  returned: when O(state) is V(reported) or V(packed)
  type: str
content:
  description: Digest of the compiled assets.
  returned: when O(state) is V(reported) or V(packed)
  type: str
dest:
  description: Where the archive is on the controller.
  returned: when O(state) is V(packed)
  type: str
changes:
  description: What was changed, one line each.
  returned: when O(state) is not V(reported)
  type: list
  elements: str
run:
  description: Id of the run, for M(fediops.mastodon.mastodon_fix) with O(fediops.mastodon.mastodon_fix#module:state=rolled_back).
  returned: when something could be changed
  type: str
"""

import os

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._change.alone import alone
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _archive, _packs, copy_assets, rebuild_assets
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import survey
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError, Owner

SECONDS = 600.0


def reported(module: AnsibleModule) -> dict[str, Any]:
    facts, ground = survey(["assets"], 15.0, 3600.0, module.params["root"], {})
    root, owner = _ground(ground)
    digests = _app.as_app(owner, lambda host: {"sources": _packs.fingerprint(root), "content": _packs.content(root)}, SECONDS)
    return dict(digests, version=ground.get("version", {}).get("string", ""), needed=rebuild_assets.wanted(facts, {}, []),
                web_older_than_build=bool(facts["assets"].get("web_older_than_build")))


def packed(module: AnsibleModule) -> dict[str, Any]:
    """Archive of what is built, in a new file that whoever owns its directory may fetch."""
    _facts, ground = survey(["install"], 15.0, 3600.0, module.params["root"], {})
    root, owner = _ground(ground)
    path = module.params["archive"]
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        about = {"schema": 1, "version": ground.get("version", {}).get("string", "")}
        about = _app.as_app(owner, lambda host: _archive.pack(root, handle, dict(about, sources=_packs.fingerprint(root))), SECONDS)
        directory = os.stat(os.path.dirname(path))
        os.fchown(handle, directory.st_uid, directory.st_gid)
        return {"version": about["version"], "sources": about["sources"], "content": about["content"],
                "archive": {"sha256": _archive.sha256_of(handle), "size_bytes": os.fstat(handle).st_size}}
    finally:
        os.close(handle)


def _ground(ground: dict[str, Any]) -> tuple[str, Owner]:
    if not ground.get("found") or "root" not in ground or "owner" not in ground or ground["deployment"] == "docker":
        raise Refused("no Mastodon was found on this host that is run from a checkout; give its directory as root")
    return ground["root"], Host(0).owner(ground["owner"])


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "state": {"type": "str", "choices": ["reported", "built", "packed", "copied"], "default": "built"},
            "src": {"type": "path"},
            "dest": {"type": "path"},
            "force": {"type": "bool", "default": False},
            "deadline_seconds": {"type": "int", "default": 1800},
            "root": {"type": "path", "default": ""},
            "archive": {"type": "path", "default": ""},
            "expected": {"type": "dict", "default": {}},
        },
        required_if=[("state", "packed", ["dest"]), ("state", "copied", ["src"])],
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="only root can work as the user of Mastodon; run with become: true")
    state = module.params["state"]
    try:
        if state == "reported":
            module.exit_json(changed=False, **reported(module))
        if state == "copied":
            options = dict(module.params["expected"], archive=module.params["archive"])
            module.exit_json(**alone(module, "copy_assets", copy_assets.fix, options, module.params["root"]))
        options = {"force": str(module.params["force"]).lower(), "deadline_seconds": module.params["deadline_seconds"]}
        result = alone(module, "rebuild_assets", rebuild_assets.fix, options, module.params["root"])
        if state == "packed" and not module.check_mode:
            result.update(packed(module))
    except (Refused, HostError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
