#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_post_probe
short_description: Post to a Mastodon server as people do, read it back and delete it
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Publishes three posts through the public address, one after the other - plain ASCII, an emoji with scripts that are not Latin, and one
    with a picture - reads each back, compares it character by character, and deletes it. They differ in one thing each, so that what
    fails says what is broken.
  - The posts are direct and mention nobody, so that only the account of the token sees them.
  - Leaves nothing behind. What may have to be deleted is written to O(state_dir) before it is posted, the work is done by a process that
    outlives the task, and a post whose answer was lost is looked for among the posts of the account. What a killed probe left is deleted by
    the next one. RV(probe_post.left) tells what could not be deleted.
  - Of each step that fails the id of the request is returned, by which the playbook C(fediops.mastodon.trace) finds it in the logs.
options:
  token:
    description:
      - Access token of an application, with the scopes V(read:statuses), V(write:statuses) and V(write:media); best of an account that is
        there for this alone. Keep it in a vault.
      - With the scope V(read:accounts) (or V(profile), from Mastodon 4.3 on) besides, the probe knows at once whose posts to look through
        when an answer is lost.
    type: str
    required: true
  url:
    description:
      - Address that people use, such as V(https://mastodon.example). Only HTTPS; the token goes to no other server and redirects are not
        followed.
      - When empty, the domain that the facts of the host name (C(WEB_DOMAIN), else C(LOCAL_DOMAIN)).
    type: str
    default: ''
  address:
    description:
      - Name or IP address to connect to in place of the name in O(url), such as one of several proxies. Certificate and requests are still
        those of O(url).
    type: str
    default: ''
  ca_path:
    description:
      - File with the certificates of the authorities to trust, in place of those of the machine.
    type: path
    default: ''
  validate_certs:
    description:
      - Whether the certificate has to be valid. With V(false) the token is shown to whoever answers.
    type: bool
    default: true
  media:
    description:
      - Whether to post with a picture.
      - V(auto) does where it can be deleted again, which is from Mastodon 4.4 on. V(always) does everywhere; an older Mastodon deletes the
        picture, of 64x64 pixels, by itself after a day.
    type: str
    choices: [auto, always, never]
    default: auto
  timeout:
    description:
      - Seconds that one request may take.
    type: float
    default: 15
  run_from:
    description:
      - Machine that posts. V(controller) comes from outside as people do, through their DNS and the firewall, and the token never leaves
        it.
      - V(host) is for controllers that cannot reach the public address. It needs pipelining, so that the token is in no file.
    type: str
    choices: [controller, host]
    default: controller
  state_dir:
    description:
      - Directory for what is to be deleted. When empty, C(/var/lib/fediops.mastodon/probes) for root, else C(fediops.mastodon/probes) below
        C($XDG_STATE_HOME) or C(~/.local/state).
    type: path
    default: ''
attributes:
  action:
    description: Has an action plugin, which does the work on the controller unless O(run_from=host).
    support: full
  check_mode:
    description: Posts nothing, and says so.
    support: full
  diff_mode:
    description: Shows what would change.
    support: none
    details: Nothing stays.
  platform:
    description: Operating systems that are supported.
    support: full
    platforms: linux
notes:
  - The role P(fediops.mastodon.diagnose#role) runs it with C(mastodon_probe_post=true) and makes its result part of the diagnosis.
  - Runs for each host; with several of one instance, use C(run_once). The role shares one result among them.
  - No C(http_proxy) is used.
seealso:
  - module: fediops.mastodon.mastodon_facts
"""

EXAMPLES = r"""
- name: See whether posting works after an upgrade
  fediops.mastodon.mastodon_post_probe:
    url: https://mastodon.example
    token: "{{ vault_probe_token }}"
  register: probe
  failed_when: not probe.works

- name: Make it a part of the diagnosis
  ansible.builtin.import_role:
    name: fediops.mastodon.diagnose
  vars:
    mastodon_probe_post: true
    mastodon_probe_token: "{{ vault_probe_token }}"
"""

RETURN = r"""
works:
  description: Whether every post that was tried came back as it was sent.
  returned: when something was posted
  type: bool
probe_post:
  description: What came of it, in the form of C(probe_post) in the collection's C(docs/facts.md).
  returned: when not in check mode
  type: dict
  contains:
    url:
      description: Address that was used.
      type: str
      returned: always
    run_from:
      description: Machine that posted.
      type: str
      returned: always
    version:
      description: Version of Mastodon by its own account.
      type: str
      returned: when it answered
    posts:
      description:
        - By name (V(plain), V(unicode), V(media)) the C(state) (V(ok), V(failed), V(damaged)) and C(seconds) of each post, and of one that
          went wrong C(step), C(error), C(status) and C(request_id).
      type: dict
      returned: always
    skipped:
      description: Posts that were not tried, and why.
      type: dict
      returned: always
    cleaned:
      description: Number of things that earlier probes had left, and that were looked for and deleted.
      type: int
      returned: when Mastodon answered
    left:
      description: What could not be deleted (C(kind), C(id), C(reason)). The next probe tries again.
      type: list
      elements: dict
      returned: when Mastodon answered
    seconds:
      description: How long all of it took.
      type: float
      returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.apart import run_apart
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.options import OPTIONS, mistake


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)  # type: ignore[no-untyped-call]  # ansible-core ships no types
    problem = mistake(module.params)
    if problem:
        module.fail_json(msg=problem, bad_input=True)
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="nothing is posted in check mode")
    module.exit_json(changed=False, told=run_apart(module.params))


if __name__ == "__main__":
    main()
