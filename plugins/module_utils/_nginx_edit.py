# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change what nginx does for Mastodon: found by position, written, tested by nginx itself, then reloaded (private, may change any time).

A configuration that nginx refuses is never left behind: the step gives up, and what it wrote is taken back at once.
"""

from __future__ import annotations

import os

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils import _nginx
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
    from ansible_collections.fediops.mastodon.plugins.module_utils._nginx import Statement
    from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import Completed

TEST_SECONDS = 60.0
MAX_BYTES = 1 << 20


class Site:
    """nginx's configuration as this step would leave it. `servers`: Mastodon's; `web`: where they pass requests on to Puma."""

    def __init__(self, change: Change, advice: str) -> None:
        self.change = change
        self.unit = _unit(change, advice)
        self._texts: dict[str, str] = {}
        self._edits: dict[str, list[tuple[int, int, str]]] = {}
        self._new: dict[str, str] = {}
        self.root = _nginx.load(proxy.MAIN_FILE, self._read, change.host.glob)
        self.servers = proxy.mastodon_servers(self.root, change.install)
        self.web = [each for each in proxy.passes(self.servers) if not proxy.is_streaming(each)]
        known = proxy.upstreams(self.root)
        puma = {place for unit in change.units("web") for place in unit.get("listen", [])}
        # Where Puma is known to listen, what Mastodon's server block passes on to other programs is left as it is.
        self.web = [each for each in self.web if puma & set(known.get(proxy.address(each.value), [proxy.address(each.value)]))] or self.web
        if not self.web:
            raise Refused("nginx passes nothing on to Mastodon below %s; %s" % (proxy.MAIN_FILE, advice))

    def _read(self, path: str) -> str | None:
        real = os.path.realpath(path)
        try:
            text = self.change.text(real)
        except (Refused, HostError, OSError):
            return None
        if text is None or len(text) > MAX_BYTES:
            return None
        self._texts[path] = text
        return text

    def where(self, statement: Statement) -> str:
        return "%s:%d" % (statement.file, _nginx.line_of(self._texts[statement.file], statement))

    def replace(self, statement: Statement, new: str) -> None:
        self._edit(statement, (statement.start, statement.end, new))

    def put_before(self, statement: Statement, new: str) -> None:
        self._edit(statement, _nginx.before(self._texts[statement.file], statement, new))

    def new_file(self, path: str, text: str) -> None:
        self._new[path] = text

    def apply(self) -> None:
        """Write, let nginx test, reload. Nothing at all when nothing is to be changed."""
        wanted = {path: _nginx.edited(self._texts[path], edits) for path, edits in self._edits.items()}
        wanted.update(self._new)
        wanted = {path: text for path, text in wanted.items() if self.change.text(path) != text}
        if not wanted:
            return
        if not self.change.check_mode:
            # A configuration that is broken already would be blamed on us, and nginx would not take ours either.
            self._demand(self.change.host.run(["nginx", "-t", "-q"], TEST_SECONDS), "nginx cannot load its configuration as it is")
        for path in sorted(wanted):
            self.change.write(path, wanted[path])
        done = self.change.command(["nginx", "-t", "-q"], "nginx -t", TEST_SECONDS, quiet=True)
        if done is not None and done.rc != 0:
            told = [line.strip() for line in done.output.splitlines() if line.strip()] or ["it gave no reason"]
            raise Refused("nginx refused the new configuration, which was taken back: %s" % told[0][:300])
        self.change.reload(self.unit)

    def _demand(self, done: Completed, what: str) -> None:
        if done.rc != 0:
            told = [line.strip() for line in (done.err or done.out).decode("utf-8", "replace").splitlines() if line.strip()]
            raise Refused("%s: %s; mend that first (nginx -t)" % (what, told[0][:300] if told else "nginx -t gave no answer in time"))

    def _edit(self, statement: Statement, edit: tuple[int, int, str]) -> None:
        path = os.path.realpath(statement.file)
        checkout = os.path.realpath(str(self.change.install.get("root") or "/nonexistent"))
        if path.startswith(checkout + "/"):
            raise Refused("%s is part of the checkout of Mastodon, which an upgrade overwrites; copy it to /etc/nginx/sites-available and"
                          " let sites-enabled name the copy" % path)
        self._demand_not_shared(statement)
        self._texts[path] = self._texts[statement.file]
        edits = self._edits.setdefault(path, [])
        if edit not in edits:
            edits.append(edit)

    def _demand_not_shared(self, statement: Statement) -> None:
        """What server blocks of others read too is not ours to change."""
        real = os.path.realpath(statement.file)
        strangers = [server for server in proxy.servers(self.root)
                     if server not in self.servers and proxy.passes([server]) and os.path.realpath(server.file) != real]
        for server in strangers:
            if any(os.path.realpath(each.file) == real for each in server.walk()):
                raise Refused("%s is also included by the server block %s (%s); set it in Mastodon's own server block by hand" % (
                    statement.file, " ".join(proxy.names(server))[:100] or "without a name", self.where(server)))


def _unit(change: Change, advice: str) -> str:
    facts: dict[str, Any] = change.facts.get("proxy") or {}
    kind = str(facts.get("kind") or "none")
    unit = next(iter(change.units("proxy")), None)
    if unit is None or kind == "none":
        raise Refused("no proxy runs on this host; %s" % advice)
    if kind != "nginx":
        raise Refused("the proxy of this host is %s, and only nginx can be changed; %s" % (kind, advice))
    argv = unit.get("_argv") or []
    if "-c" in argv[:-1] and argv[argv.index("-c") + 1] != proxy.MAIN_FILE:
        raise Refused("nginx reads %s and not %s; %s" % (argv[argv.index("-c") + 1], proxy.MAIN_FILE, advice))
    return str(unit["name"])
