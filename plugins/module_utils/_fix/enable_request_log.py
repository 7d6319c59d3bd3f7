# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let nginx log, beside what it logs already, what tells a 500 of the app from a 502 of the proxy: upstream status, times and request id.

The line begins like the combined format, so all readers of access logs understand it. It holds no address of a visitor and no query string,
which may carry tokens. logrotate of the distribution rotates /var/log/nginx/*.log.
"""

from __future__ import annotations

import fnmatch
import os

from ansible_collections.fediops.mastodon.plugins.module_utils._change.change import Change
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._nginx import Statement
from ansible_collections.fediops.mastodon.plugins.module_utils._nginx_edit import Site
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import proxy

# A name that comes first in conf.d: a format must be known before it is used.
FORMAT_FILE = "conf.d/00-mastodon-request-log.conf"
LOG_FILE = "/var/log/nginx/mastodon_requests.log"
FORMAT = """\
# Written by fediops.mastodon (enable_request_log). No addresses of visitors; no query strings, which may carry tokens.
map $request_uri $%(name)s_path {
  "~^(?P<%(name)s_found>[^?#]*)" $%(name)s_found;
}
log_format %(name)s
  '- - - [$time_local] "$request_method $%(name)s_path $server_protocol" $status $body_bytes_sent "-" "-" '
  'request_time=$request_time upstream="$upstream_addr" upstream_status="$upstream_status" '
  'upstream_time="$upstream_response_time" request_id="$upstream_http_x_request_id" host="$host"';
"""


def fix(change: Change) -> None:
    site = Site(change, "make your proxy log status, upstream status, times and the header X-Request-Id of the answer by hand")
    known = proxy.formats(site.root)
    targets = []
    for each in site.web:
        location = proxy.location_of(each)
        block = location or each.parent
        if block is not None and not any(_is_complete(log, known) for log in block.in_effect("access_log")):
            targets.append(each)
    if not targets:
        return
    name = _format(site, known)
    for each in targets:
        _log(site, each, "access_log %s %s;" % (LOG_FILE, name))
    site.apply()


def _is_complete(log: Statement, known: dict[str, str]) -> bool:
    return len(log.words) > 2 and proxy.is_complete(known.get(log.words[2], ""))


def _format(site: Site, known: dict[str, str]) -> str:
    """Name of the format to log in, which is defined when it is not there yet."""
    folder = os.path.dirname(proxy.MAIN_FILE)
    path = os.path.join(folder, FORMAT_FILE)
    name = "mastodon"
    if any(each.value == name and each.file != path for http in site.root.own("http") for each in http.own("log_format")):
        if proxy.is_complete(known[name]):
            return name
        name = "mastodon_requests"  # nginx takes no name twice
    patterns = [os.path.join(folder, each.value) for http in site.root.own("http") for each in http.own("include")]
    if not any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
        raise Refused("nginx does not read %s; add include %s/*.conf to the block http of %s" % (
            path, os.path.dirname(path), proxy.MAIN_FILE))
    site.new_file(path, FORMAT % {"name": name})
    return name


def _log(site: Site, target: Statement, new: str) -> None:
    """Log once more where requests to this target are logged; what is logged today goes on being logged."""
    server = target.within("server")
    location = proxy.location_of(target)
    if server is None or location is None:
        raise Refused("%s passes requests on outside of any location, which nginx itself refuses" % site.where(target))
    found = location.in_effect("access_log")
    off = next((each for each in found if each.value == "off"), None)
    if off is not None:
        raise Refused("somebody switched logging off on purpose (%s: access_log off); take that line away if requests are to be logged" %
                      site.where(off))
    block = found[0].parent if found else None
    if block is not None and block.name in ("location", "server"):
        site.put_before(found[0], new)
        return
    # A log in this block hides those of http, and nginx's own default: they are named here again.
    inherited = [" ".join(_quoted(word) for word in each.words) + ";" for each in found] or ["access_log %s;" % proxy.ACCESS_LOG]
    for line in [*inherited, new]:
        site.put_before(server.body[0], line)


def _quoted(word: str) -> str:
    return '"%s"' % word if not word or any(each in word for each in " \t;{}\"'#") else word
