# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller side of mastodon_assets: archives come from the host that built them and go to those that serve them."""

from __future__ import annotations

import pathlib
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _assets_archive
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

Result = dict[str, t.Any]


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: t.Any = None, task_vars: Result | None = None) -> Result:
        variables = task_vars or {}
        result: Result = super().run(tmp, variables)
        arguments = dict(self._task.args)
        state = arguments.get("state", "built")
        try:
            if state == "packed" and arguments.get("dest") and not self._task.check_mode:
                dest = pathlib.Path(str(arguments["dest"])).expanduser().absolute()
                result.update(_assets_archive.fetch(self, arguments, variables, dest))
            elif state == "copied" and arguments.get("src"):
                source = pathlib.Path(str(arguments["src"])).expanduser().absolute()
                options = _assets_archive.options_for(self, source, variables, str(arguments.get("root", "")))
                archive = options.pop("archive", "")
                more = {"expected": options, "archive": archive}
                result.update(self._execute_module(_assets_archive.MODULE, {**arguments, **more}, task_vars=variables))
            else:
                result.update(self._execute_module(_assets_archive.MODULE, arguments, task_vars=variables))
        except (_assets_archive.ArchiveError, AnsibleError) as problem:
            result.update(failed=True, msg=clean_line(problem, 500))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)  # type: ignore[no-untyped-call]
        return result
