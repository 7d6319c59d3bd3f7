# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints the verdict after everything else, PLAY RECAP included."""

from __future__ import annotations

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: mastodon_summary
type: aggregate
short_description: Print the verdict of a diagnosis as the last of all output
description:
  - Prints the text that M(fediops.mastodon.mastodon_report) leaves when its O(fediops.mastodon.mastodon_report#module:display) is V(last).
  - Lies beside the playbooks of the collection, so Ansible loads it with them and nothing needs to be enabled.
author:
  - fediops.mastodon contributors
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "mastodon_summary"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        try:
            from ansible_collections.fediops.mastodon.plugins.plugin_utils import _run_folder
        except ImportError:  # a playbook run where the collection cannot be found fails elsewhere, with a clearer message
            self._folder = None
            return
        self._folder = _run_folder
        _run_folder.listen(self._display.columns)

    def v2_playbook_on_stats(self, stats):
        for text in self._folder.take_summaries() if self._folder else ():
            self._display.display(text)
