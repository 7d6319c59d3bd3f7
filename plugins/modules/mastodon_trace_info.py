#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_trace_info
short_description: Find every line of one request in the logs of a Mastodon server
version_added: 1.0.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Follows one request by the id in the header C(X-Request-Id) of its answer through the logs of this host - proxy, web, streaming, Sidekiq
    and database, in the journal, in containers, in files and in those that were rotated and compressed - and changes nothing.
  - Lines are tied to the request only as far as logs tell. RV(trace.lines) says of each how it is known.
  - Text is redacted, stripped of control sequences and bounded before it leaves the host.
  - The playbook C(fediops.mastodon.trace) runs it on every host and merges what they tell.
options:
  request_id:
    description:
      - The id, as the header C(X-Request-Id) of the answer gives it. Rails lets letters, digits, C(_), C(-) and C(@) through, at most 255.
        Anything else is refused.
      - Empty means that the answer had no such header; then the answers are listed that the proxy made itself.
      - When it is not given, the action plugin takes the variable C(request_id) of the play, without rendering it.
    type: str
    required: true
  since:
    description: How far back logs are read, as a number of seconds or with a unit, for example V(15m), V(24h), V(7d).
    type: str
    default: 24h
  timeout:
    description: Seconds after which the result comes back, whatever hangs. What was not read by then is told in RV(trace.sources).
    type: float
    default: 120
  clues:
    description:
      - What is known of the request from other hosts, see RV(trace.clues). With it nothing is searched for; only the times in question are
        read.
      - The action plugin fills it in when O(known) is given.
    type: dict
    default: {}
  known:
    description:
      - Name of the variable in which the play registered the first pass of this module. The clues are then made from what all hosts of the
        play found. Handled by the action plugin.
    type: str
    default: ''
  signatures:
    description: Regular expressions to count in the lines, by name. The action plugin fills them in from the catalogue of known issues.
    type: dict
    default: {}
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes.root
  - fediops.mastodon._attributes
attributes:
  platform:
    description: Operating systems that are supported.
    support: full
    platforms: linux
notes:
  - Run it as root (C(become=true)), who may read all logs.
seealso:
  - module: fediops.mastodon.mastodon_trace
  - module: fediops.mastodon.mastodon_facts
"""

EXAMPLES = r"""
- name: Find the lines of one request
  fediops.mastodon.mastodon_trace_info:
    request_id: 6bc0960d-5001-43c3-a7f4-31376ce7a2a7
  become: true
  register: result

- name: Show the exception
  ansible.builtin.debug:
    var: result.trace.stacks
"""

RETURN = r"""
trace:
  description: What the logs of this host tell of the request. Times are seconds since 1970 by the clock of this host.
  returned: success
  type: dict
  contains:
    schema:
      description: Version of this shape.
      type: int
      returned: always
      sample: 1
    request_id:
      description: The id, or empty.
      type: str
      returned: always
    host:
      description: What the host calls itself.
      type: str
      returned: always
    since_epoch:
      description: What is older was not looked at.
      type: float
      returned: always
    state:
      description: V(ok); V(failed), V(denied) or V(timeout) when the logs could not be read, with a C(reason).
      type: str
      returned: always
    roles:
      description: What of an instance this host runs.
      type: list
      elements: str
      returned: always
    install:
      description: C(version), C(deployment), C(domain), C(root) and C(owner) as far as they are known.
      type: dict
      returned: always
    clock:
      description: C(first_epoch) and C(last_epoch), this host's clock when the module began and when it was done.
      type: dict
      returned: always
    lines:
      description:
        - The lines in order of time, at most 2000 - C(time_epoch), C(origin), C(name) of unit or file, C(text), C(link), and if known
          C(pid), C(severity), C(job), C(status).
        - C(link) is V(id) (the line carries the id), V(block) (it continues such a line), V(job) (of a job that a line of the request
          names), V(error) (PostgreSQL reports the very error the request died of, at that time), V(request) (the log of the proxy has no
          ids; method, path and time are the same), V(proxy) (an answer that the proxy made), V(time) (trouble in that moment, not known to
          belong to the request).
        - C(of) says of how many alike it is one.
      type: list
      elements: dict
      returned: when RV(trace.state) is V(ok)
    left_out:
      description: Lines that were found and are not in RV(trace.lines).
      type: int
      returned: when RV(trace.state) is V(ok)
    stacks:
      description: Exceptions put together - C(class), C(message), C(frames) (innermost first), C(causes), and C(job) of a job's.
      type: list
      elements: dict
      returned: when RV(trace.state) is V(ok)
    clues:
      description: What other hosts need to find their part - C(spans) of time, C(requests), what C(errors) said, C(jobs).
      type: dict
      returned: when RV(trace.state) is V(ok)
    logs:
      description: Signatures, exceptions and requests counted in the lines, as C(logs) of M(fediops.mastodon.mastodon_facts).
      type: dict
      returned: when RV(trace.state) is V(ok)
    unanswered:
      description:
        - The newest answers that the proxy made itself - C(time_epoch), C(state), and if known C(method), C(path), C(status), C(said).
        - C(state) is V(never_reached) (no process of Mastodon took the request), V(no_answer) (one took it and gave no answer in time) or
          V(by_proxy) (no answer of Mastodon was passed on, and nothing tells why).
      type: list
      elements: dict
      returned: when O(request_id) is empty
    sources:
      description:
        - Logs that were searched - C(origin), C(name), C(kind), lines C(found); C(truncated) with a C(reason) and C(oldest_epoch) when
          not all of the time was read.
      type: list
      elements: dict
      returned: when RV(trace.state) is V(ok)
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._duration import seconds_of
from ansible_collections.fediops.mastodon.plugins.module_utils._request_id import checked
from ansible_collections.fediops.mastodon.plugins.module_utils._trace.host import trace


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core ships no types
        argument_spec={
            "request_id": {"type": "str", "required": True},
            "since": {"type": "str", "default": "24h"},
            "timeout": {"type": "float", "default": 120},
            "root": {"type": "path", "default": ""},
            "clues": {"type": "dict", "default": {}},
            "known": {"type": "str", "default": ""},
            "signatures": {"type": "dict", "default": {}},
            "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    options = module.params
    if not 5 <= options["timeout"] <= 3600:
        module.fail_json(msg="timeout is a number of seconds between 5 and 3600, not %s" % options["timeout"], bad_input=True)
    try:
        request_id = checked(options["request_id"])
        since_seconds = seconds_of(options["since"], "since")
    except ValueError as problem:
        # bad_input: wrong for the whole run, not for this host.
        module.fail_json(msg=str(problem), bad_input=True)
    found = trace(request_id, since_seconds, options["timeout"], options["root"], options["signatures"], options["clues"])
    module.exit_json(changed=False, trace=found)


if __name__ == "__main__":
    main()
