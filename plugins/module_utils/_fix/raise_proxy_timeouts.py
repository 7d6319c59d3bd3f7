# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let nginx wait longer for Puma: proxy_read_timeout and proxy_send_timeout, where Mastodon's requests are passed on.

Options: `seconds` (120). A directive of Mastodon's own server block is changed where it stands; what comes from further out (http) is
overruled in the location. Streaming is left alone.
"""

from __future__ import annotations

from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._nginx import Statement
from ansible_collections.fediops.mastodon.plugins.module_utils._nginx_edit import Site
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy

NAMES = ("proxy_read_timeout", "proxy_send_timeout")
MOST_SECONDS = 3600


def fix(change: Change) -> None:
    wanted = _seconds(str(change.options.get("seconds") or "120"))
    site = Site(change, "let your proxy wait %d s for the answers of Mastodon's web process by hand" % wanted)
    for target in site.web:
        for name in NAMES:
            if proxy.wait(target, name) < wanted:
                _raise(site, target, name, "%s %ds;" % (name, wanted))
    site.apply()


def _raise(site: Site, target: Statement, name: str, new: str) -> None:
    location = proxy.location_of(target)
    if location is None:
        raise Refused("%s passes requests on outside of any location, which nginx itself refuses" % site.where(target))
    found = location.in_effect(name)
    block = found[-1].parent if found else None
    if block is not None and (block.name == "location" or block.name == "server"):
        site.replace(found[-1], new)
        return
    site.put_before(_place(location, target), new)


def _place(location: Statement, target: Statement) -> Statement:
    """The statement of the location itself in front of which to write: proxy_pass, or the `if` or limit_except around it."""
    while target.parent is not None and target.parent is not location:
        target = target.parent
    return target


def _seconds(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MOST_SECONDS:
        raise Refused("the option seconds of raise_proxy_timeouts is a number from 1 to %d, not %r" % (MOST_SECONDS, text[:40]))
    return int(text)
