# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the verdict after everything else, PLAY RECAP included, and does not let a run over no host at all pass for a good one."""

from __future__ import annotations

import os

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: mastodon_summary
type: aggregate
short_description: Print the verdict of a diagnosis as the last of all output
description:
  - Prints the text that M(fediops.mastodon.mastodon_report) leaves when its O(fediops.mastodon.mastodon_report#module:display) is V(last).
  - Ends the run with an error when no host at all was looked at, because nothing matches C(mastodon_hosts) and C(--limit). Ansible itself
    warns of that and ends well, which a nightly job would take for a healthy server.
  - Lies beside the playbooks of the collection, so Ansible loads it with them and nothing needs to be enabled.
author:
  - fediops.mastodon contributors
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "mastodon_summary"
    CALLBACK_NEEDS_ENABLED = False
    _PLAYBOOKS = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._empty = []  # of each play of this collection, whether it had no host
        self._pattern = ""
        self._ours = False
        try:
            from ansible_collections.fediops.mastodon.plugins.plugin_utils import _run_folder
        except ImportError:  # a playbook run where the collection cannot be found fails elsewhere, with a clearer message
            self._folder = None
            return
        self._folder = _run_folder
        _run_folder.listen(self._display.columns)

    def v2_playbook_on_play_start(self, play):
        self._ours = os.path.realpath(play.get_path()).startswith(self._PLAYBOOKS)
        if self._ours:
            self._empty.append(False)
            self._pattern = ",".join(play.hosts) if isinstance(play.hosts, list) else str(play.hosts)

    def v2_playbook_on_no_hosts_matched(self):
        if self._ours:
            self._empty[-1] = True

    def v2_playbook_on_stats(self, stats):
        for text in self._folder.take_summaries() if self._folder else ():
            self._display.display(text)
        if self._empty and all(self._empty):
            limit = context.CLIARGS.get("subset")
            within = f' within --limit "{limit}"' if limit else ""
            self._display.error(f'no host was looked at: nothing in the inventory matches mastodon_hosts "{self._pattern}"{within}')
            raise SystemExit(1)  # the only thing that a callback plugin can end a run with
