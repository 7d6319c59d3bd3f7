# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Posts to a Mastodon server as people do, reads it back and deletes it."""

from __future__ import annotations

import typing as t

from ansible.utils.unsafe_proxy import wrap_var

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _options, _post_probe
from ansible_collections.fediops.mastodon.plugins.plugin_utils._action import HostAction, Result


class ActionModule(HostAction):
    def work(self, variables: dict[str, t.Any], result: Result) -> None:
        options = _post_probe.checked(self._task.args)
        options["url"] = options["url"] or _post_probe.url_by((variables.get("ansible_facts") or {}).get("mastodon"))
        if not options["url"]:
            raise _options.OptionError("url is missing, and no facts of mastodon_facts are there to tell the domain of this host")
        if self._task.check_mode:
            result.update(skipped=True, msg=_post_probe.CHECK_MODE)
            return
        told = _post_probe.run(self, variables, options)
        posts = told["facts"].get("posts")
        result["probe_post"] = wrap_var(told["facts"])  # type: ignore[no-untyped-call]
        if posts:
            result["works"] = all(post["state"] == "ok" for post in posts.values())
        if told["state"] != "ok":
            result.update(failed=True, msg=told["reason"])
