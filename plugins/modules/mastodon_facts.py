#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_facts
short_description: Observe a Mastodon server in one read-only pass
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Gathers everything that the known issues of this collection look at, in one call a host, and changes nothing.
  - Reads what is effective - the environment of the running process before the unit file, the unit file before C(.env.production) - because
    that is where servers and their owners disagree.
  - Never starts Rails, needs no database driver and no temporary file, and works while Mastodon, its database or its disk is down.
  - The subsets run side by side, each in a process of its own. One that hangs or breaks leaves the others untouched; what became of each is
    told in RV(ansible_facts.mastodon.probes).
  - Values of secrets never leave the host. Log lines are redacted, stripped of control sequences and bounded.
options:
  gather_subset:
    description:
      - Subsets to gather, V(all) for every one. A name with V(!) before it is left out. V(install) is always gathered.
      - Known are V(install), V(services), V(environment), V(disk), V(memory), V(database), V(redis), V(sidekiq), V(web), V(streaming),
        V(proxy), V(assets), V(media), V(search), V(logs) and V(remediation).
    type: list
    elements: str
    default: [all]
  gather_timeout:
    description:
      - Seconds after which the facts come back, whatever hangs. A subset without an answer by then is reported as V(timeout).
    type: float
    default: 10
  log_since:
    description:
      - How far back logs are read, as a number of seconds or with a unit, for example V(15m), V(1h), V(2d).
    type: str
    default: 1h
  signatures:
    description:
      - Regular expressions to count in the logs, by name. The action plugin of this module fills them in from the catalogue of known
        issues, each with the literals of which a line must have one.
    type: dict
    default: {}
  fingerprint_key:
    description:
      - 64 hexadecimal digits under which RV(ansible_facts.mastodon.environment) tells fingerprints of the secrets that all hosts of an
        instance must share, so that they can be compared without being told. The action plugin of this module makes a random one for each
        run and keeps it nowhere. Empty means no fingerprints.
    type: str
    default: ''
  instance:
    description:
      - Name of the Mastodon instance that the host belongs to, for a host that cannot know it, such as one with nothing but the database.
        Without it that is found out by addresses. Handled by the action plugin.
    type: str
    default: ''
  cured:
    description:
      - Ids of known issues that were cured just now by what was done on another host. Log lines of before are not counted for them.
    type: list
    elements: str
    default: []
  recorded:
    description:
      - File on the controller with facts recorded before. Nothing is run on the host then; its content is returned. Handled by the action
        plugin.
    type: path
    default: ''
  post_probe:
    description:
      - Also post through the public address before anything is gathered, and make the result the fact C(probe_post). Takes the options of
        M(fediops.mastodon.mastodon_post_probe). Empty means not to. Handled by the action plugin.
    type: dict
    default: {}
  validate_role:
    description:
      - Name of the role of this collection whose variables are to be checked before anything is run. Handled by the action plugin.
    type: str
    default: ''
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes.root
  - fediops.mastodon._attributes
attributes:
  facts:
    description: Returns facts under C(ansible_facts).
    support: full
  platform:
    description: Operating systems that are supported.
    support: full
    platforms: linux
notes:
  - Run it as root (C(become=true)). As another user the subsets that may not be read are reported as V(denied), with what to grant.
seealso:
  - module: fediops.mastodon.mastodon_diagnose
  - module: fediops.mastodon.mastodon_report
  - module: fediops.mastodon.mastodon_post_probe
"""

EXAMPLES = r"""
- name: Observe everything
  fediops.mastodon.mastodon_facts:
  become: true

- name: Observe database and Redis only, give up after five seconds
  fediops.mastodon.mastodon_facts:
    gather_subset: [database, redis]
    gather_timeout: 5
  become: true

- name: Show whether the schema is older than the code
  ansible.builtin.debug:
    msg: "{{ ansible_facts['mastodon']['database']['schema']['pending'] }}"
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to C(ansible_facts).
  returned: always
  type: dict
  contains:
    mastodon:
      description:
        - All facts, key by key with units in the collection's C(docs/facts.md). A subset that was not gathered is absent.
      returned: always
      type: dict
      contains:
        schema:
          description: Version of the shape of these facts.
          type: int
          returned: always
          sample: 1
        time_epoch:
          description: Clock of the host when the pass began, in seconds since 1970.
          type: float
          returned: always
        host:
          description: Name, operating system, number of processors, Python, uptime and addresses of the host.
          type: dict
          returned: always
        clock:
          description:
            - Whether a time service keeps the clock right (C(synchronized)), and between how many seconds it is ahead of the controller's.
          type: dict
          returned: always
        probes:
          description:
            - For each subset its C(state) (V(ok), V(failed), V(timeout), V(skipped), V(denied)), C(seconds), and unless V(ok) the
              C(reason). With V(ok) a C(reason) says what was left out, as the older part of a log that is too large to be read in time.
          type: dict
          returned: always
          sample: {database: {state: ok, seconds: 0.021}}
        install:
          description: Where Mastodon is, whose it is, version, deployment, the roles this host plays; C(searched) when it was not found.
          type: dict
          returned: always
        services:
          description: Units that matter, found by what they run, with state, restarts, memory, OOM kills, addresses, threads and pools.
          type: dict
          returned: when gathered
        environment:
          description: RAILS_ENV and NODE_ENV of each process and of the login shell, required keys, keys without effect, the file itself,
            fingerprints of shared secrets.
          type: dict
          returned: when gathered
        disk:
          description: Bytes and inodes of every filesystem that matters, and the biggest consumers of those nearly full.
          type: dict
          returned: when gathered
        memory:
          description: RAM, swap, pressure, and OOM kills of the window.
          type: dict
          returned: when gathered
        database:
          description: PostgreSQL as the app reaches it - reachable or why not, encoding, connections, pending and unknown migrations.
          type: dict
          returned: when gathered
        redis:
          description: The three uses of Redis - reachable or why not, snapshot state, writable, eviction policy, version.
          type: dict
          returned: when gathered
        sidekiq:
          description: Live processes, each queue of this version with its latency and whether it is consumed, retries, schedulers.
          type: dict
          returned: when gathered
        web:
          description: Whether Puma answers, asked as a proxy would.
          type: dict
          returned: when gathered
        streaming:
          description: Whether the streaming server answers, asked as a proxy would.
          type: dict
          returned: when gathered
        proxy:
          description: Upstreams and time-outs that nginx is configured with for this Mastodon.
          type: dict
          returned: when gathered
        assets:
          description: Whether the compiled packs are there, whole, newer than their sources and older than the process serving them.
          type: dict
          returned: when gathered
        media:
          description: Tools as the service sees them, directories that the app's user cannot write, read-only mounts of the service.
          type: dict
          returned: when gathered
        search:
          description: Whether the search server answers, as the app would ask it; its version and the health of its cluster.
          type: dict
          returned: when gathered
        logs:
          description: Requests by status, posts failed, exceptions grouped by class and frame, signatures counted with redacted samples.
          type: dict
          returned: when gathered
        probe_post:
          description: What became of the posts that were made through the public address.
          type: dict
          returned: when O(post_probe) is given
        remediation:
          description:
            - What this collection did to the host - C(runs), the newest 20 with their steps; C(open), a run that nobody finished; C(cured),
              when each issue was last cured. Log lines older than the cure of an issue are not counted for it.
          type: dict
          returned: when gathered
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._duration import seconds_of
from ansible_collections.fediops.mastodon.plugins.module_utils._fingerprint import KEY
from ansible_collections.fediops.mastodon.plugins.module_utils._gather import chosen, gather


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "gather_subset": {"type": "list", "elements": "str", "default": ["all"]},
            "gather_timeout": {"type": "float", "default": 10},
            "log_since": {"type": "str", "default": "1h"},
            "root": {"type": "path", "default": ""},
            "signatures": {"type": "dict", "default": {}},
            "fingerprint_key": {"type": "str", "default": "", "no_log": True},
            "cured": {"type": "list", "elements": "str", "default": []},
            "instance": {"type": "str", "default": ""},
            "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
            "recorded": {"type": "path", "default": ""},
            "post_probe": {"type": "dict", "default": {}},
            "validate_role": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    options = module.params
    if not 1 <= options["gather_timeout"] <= 600:
        module.fail_json(msg="gather_timeout is a number of seconds between 1 and 600, not %s" % options["gather_timeout"], bad_input=True)
    if options["fingerprint_key"] and not KEY.match(options["fingerprint_key"]):
        module.fail_json(msg="fingerprint_key is 64 hexadecimal digits in lower case", bad_input=True)
    try:
        chosen(options["gather_subset"])
        since_seconds = seconds_of(options["log_since"])
    except ValueError as problem:
        # bad_input: wrong for the whole run, not for this host.
        module.fail_json(msg=str(problem), bad_input=True)
    facts = gather(options["gather_subset"], options["gather_timeout"], since_seconds, options["root"], options["signatures"],
                   options["fingerprint_key"], options["cured"])
    module.exit_json(changed=False, ansible_facts={"mastodon": facts})


if __name__ == "__main__":
    main()
