#!/usr/bin/python
# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: mastodon_monitor
short_description: Keep watch over a Mastodon server
version_added: 1.1.0
author:
  - fediops.mastodon contributors (@fediops)
description:
  - Installs a timer of systemd that looks at the server every few minutes, in one bounded pass, and tells once when something begins and
    once when it is over. Limits the journal, the logs of containers and log files.
  - With O(part=diagnose) it installs a timer that runs the full diagnosis, on the machine where Ansible is.
  - Everything is removed again by O(state=absent); a file that was there before is put back byte for byte.
  - Best used by the role P(fediops.mastodon.monitor#role).
options:
  state:
    description: Whether the monitor is there.
    type: str
    choices: [present, absent]
    default: present
  part:
    description: The watch on a server, or the full diagnosis by the clock.
    type: str
    choices: [watch, diagnose]
    default: watch
  root:
    description: Directory of the Mastodon checkout. When empty it is found by what the services and processes of the host run.
    type: path
    default: ''
  interval_minutes:
    description: Minutes between two passes of the watch.
    type: int
    choices: [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30]
    default: 5
  confirm_seconds:
    description: How long after the first look something new is looked at again before it is believed, in seconds.
    type: float
    default: 20
  clear_passes:
    description: So many passes in a row must be clear before the all-clear.
    type: int
    default: 2
  limits:
    description: From where on something is worth an alert.
    type: dict
    default: {}
    suboptions:
      server_errors:
        description: Answers with status 5xx between two passes, ...
        type: int
        default: 5
      server_errors_percent:
        description: ... when they are also this share of all answers.
        type: float
        default: 1
      failed_posts:
        description: Posts answered 5xx between two passes, with none accepted since.
        type: int
        default: 1
      latency_seconds:
        description: Age of the oldest job of a queue of Sidekiq. Twelve times that for the queue C(pull), which may wait.
        type: float
        default: 300
      disk_hours:
        description: Hours until a filesystem will be full.
        type: float
        default: 24
      disk_percent:
        description: Share of a filesystem in use, of bytes or inodes.
        type: float
        default: 95
  command:
    description: A program on the host and its arguments, given the text of an alert on standard input.
    type: list
    elements: str
    default: []
  mail:
    description: Where to send mail.
    type: dict
    default: {}
    suboptions:
      to:
        description: Addresses.
        type: list
        elements: str
        default: []
      from:
        description: Address of the sender. Needed with O(mail.to).
        type: str
        default: ''
      sendmail:
        description: Program that takes the mail when O(mail.smtp_host) is empty.
        type: path
        default: /usr/sbin/sendmail
      smtp_host:
        description: Server that takes the mail.
        type: str
        default: ''
      smtp_port:
        description: Its port.
        type: int
        default: 587
      smtp_tls:
        description: How the connection is encrypted.
        type: str
        choices: [starttls, tls, none]
        default: starttls
      smtp_user:
        description: Name to log in with.
        type: str
        default: ''
      smtp_password:
        description: Password, kept on the host in a file that only root can read.
        type: str
        default: ''
      ca_file:
        description: Certificates to trust, as a file on the host. When empty those of the system.
        type: path
        default: ''
  webhook:
    description: Where to post alerts as JSON.
    type: dict
    default: {}
    suboptions:
      url:
        description: Address, kept on the host in a file that only root can read. Redirects are not followed.
        type: str
        default: ''
      token:
        description: Sent as C(Authorization Bearer), kept like O(webhook.url).
        type: str
        default: ''
      ca_file:
        description: Certificates to trust, as a file on the host. When empty those of the system.
        type: path
        default: ''
  textfile_directory:
    description: Directory of the textfile collector of node_exporter.
    type: path
    default: ''
  memory_mb:
    description: Memory that the watch may use, in MiB.
    type: int
    default: 256
  journal_percent:
    description: Share of its filesystem that the journal may use, 128 MiB to 4 GiB. 0 leaves it alone, and so does a limit set already.
    type: float
    default: 5
  container_logs_percent:
    description: Share of its filesystem that the logs of containers may use where Mastodon runs in docker. 0 leaves them alone.
    type: float
    default: 5
  rotate_files:
    description: Rotate log files that Mastodon writes and nobody rotates.
    type: bool
    default: true
  catalogue:
    description: What known issues explain and look for in logs. Filled in by the action plugin.
    type: dict
    default: {}
  validate_role:
    description: Name of the role of this collection whose variables are to be checked first. Handled by the action plugin.
    type: str
    default: ''
  schedule:
    description: For O(part=diagnose), when, as a calendar expression of systemd.
    type: str
    default: '*-*-* 04:30:00'
  user:
    description: For O(part=diagnose), user who runs Ansible and whose SSH keys are used.
    type: str
    default: root
  inventory:
    description: For O(part=diagnose), the inventory.
    type: path
    default: ''
  ansible_playbook:
    description: For O(part=diagnose), the program. When empty, that of the Ansible that runs now.
    type: path
    default: ''
  playbook:
    description: For O(part=diagnose), the playbook.
    type: str
    default: fediops.mastodon.diagnose
  project_directory:
    description: For O(part=diagnose), directory to start Ansible in.
    type: path
    default: /
  arguments:
    description: For O(part=diagnose), further arguments of C(ansible-playbook).
    type: list
    elements: str
    default: []
  variables:
    description: For O(part=diagnose), variables of the role diagnose.
    type: dict
    default: {}
  environment:
    description: For O(part=diagnose), environment of Ansible.
    type: dict
    default: {}
  keep:
    description: For O(part=diagnose), number of reports to keep.
    type: int
    default: 30
  seconds:
    description: For O(part=diagnose), how long a diagnosis may take, in seconds.
    type: int
    default: 3600
extends_documentation_fragment:
  - fediops.mastodon._attributes.known_issues
  - fediops.mastodon._attributes.changes
attributes:
  action:
    description: Has an action plugin, which adds the catalogue of the controller.
    support: full
seealso:
  - module: fediops.mastodon.mastodon_diagnose
"""

EXAMPLES = r"""
- name: Keep watch and tell a chat
  fediops.mastodon.mastodon_monitor:
    webhook:
      url: "{{ vault_chat_webhook }}"
  become: true

- name: Keep watch and send mail by the mailer of the host
  fediops.mastodon.mastodon_monitor:
    mail:
      to: [admin@example.org]
      from: mastodon@example.org
    limits:
      latency_seconds: 600
  become: true

- name: Remove all of it
  fediops.mastodon.mastodon_monitor:
    state: absent
  become: true
"""

RETURN = r"""
paths:
  description: What changed or would change, paths and units.
  returned: success
  type: list
  elements: str
  sample: [/etc/fediops.mastodon/monitor.json]
notes:
  description: What was left alone, and why; one sentence each.
  returned: success
  type: list
  elements: str
  sample: [the journal is limited already by SystemMaxUse in /etc/systemd/journald.conf]
"""

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import parts

if TYPE_CHECKING:
    # Makes Ansible bring along what the program is built from.
    from ansible_collections.fediops.mastodon.plugins.module_utils._watch import main as _program  # noqa: F401


LIMITS = {
    "server_errors": {"type": "int", "default": 5}, "server_errors_percent": {"type": "float", "default": 1},
    "failed_posts": {"type": "int", "default": 1}, "latency_seconds": {"type": "float", "default": 300},
    "disk_hours": {"type": "float", "default": 24}, "disk_percent": {"type": "float", "default": 95},
}  # fmt: skip
MAIL = {
    "to": {"type": "list", "elements": "str", "default": []}, "from": {"type": "str", "default": ""},
    "sendmail": {"type": "path", "default": "/usr/sbin/sendmail"}, "smtp_host": {"type": "str", "default": ""},
    "smtp_port": {"type": "int", "default": 587},
    "smtp_tls": {"type": "str", "default": "starttls", "choices": ["starttls", "tls", "none"]}, "smtp_user": {"type": "str", "default": ""},
    "smtp_password": {"type": "str", "default": "", "no_log": True}, "ca_file": {"type": "path", "default": ""},
}  # fmt: skip
WEBHOOK = {
    "url": {"type": "str", "default": "", "no_log": True}, "token": {"type": "str", "default": "", "no_log": True},
    "ca_file": {"type": "path", "default": ""},
}  # fmt: skip
OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "part": {"type": "str", "choices": ["watch", "diagnose"], "default": "watch"},
    "root": {"type": "path", "default": ""},
    "interval_minutes": {"type": "int", "choices": [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30], "default": 5},
    "confirm_seconds": {"type": "float", "default": 20},
    "clear_passes": {"type": "int", "default": 2, "no_log": False},
    "limits": {"type": "dict", "default": {}, "options": LIMITS},
    "command": {"type": "list", "elements": "str", "default": []},
    "mail": {"type": "dict", "default": {}, "options": MAIL},
    "webhook": {"type": "dict", "default": {}, "options": WEBHOOK},
    "textfile_directory": {"type": "path", "default": ""},
    "memory_mb": {"type": "int", "default": 256},
    "journal_percent": {"type": "float", "default": 5},
    "container_logs_percent": {"type": "float", "default": 5},
    "rotate_files": {"type": "bool", "default": True},
    "catalogue": {"type": "dict", "default": {}},
    "known_issues_dirs": {"type": "list", "elements": "path", "default": []},
    "validate_role": {"type": "str", "default": ""},
    "schedule": {"type": "str", "default": "*-*-* 04:30:00"},
    "user": {"type": "str", "default": "root"},
    "inventory": {"type": "path", "default": ""},
    "ansible_playbook": {"type": "path", "default": ""},
    "playbook": {"type": "str", "default": "fediops.mastodon.diagnose"},
    "project_directory": {"type": "path", "default": "/"},
    "arguments": {"type": "list", "elements": "str", "default": []},
    "variables": {"type": "dict", "default": {}},
    "environment": {"type": "dict", "default": {}},
    "keep": {"type": "int", "default": 30},
    "seconds": {"type": "int", "default": 3600},
}
BOUNDS = {
    "confirm_seconds": (1, 120),
    "clear_passes": (1, 100),
    "memory_mb": (64, 4096),
    "journal_percent": (0, 10),
    "container_logs_percent": (0, 50),
    "keep": (1, 10000),
    "seconds": (60, 86400),
}


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)  # type: ignore[no-untyped-call]  # ansible-core ships no types
    for name, (least, most) in BOUNDS.items():
        if not least <= module.params[name] <= most:
            module.fail_json(msg="%s is a number between %d and %d, not %s" % (name, least, most, module.params[name]))
    try:
        result = parts.apply(module.params, module.check_mode)
    except (Refused, HostError, OSError) as problem:
        module.fail_json(msg=str(problem))
    diff = result.pop("diff")
    module.exit_json(diff=diff if module._diff else [], **result)


if __name__ == "__main__":
    main()
