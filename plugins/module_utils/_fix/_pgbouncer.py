# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgbouncer.ini: which PostgreSQL stands behind a database name of this PgBouncer (private, may change any time).

Source: https://www.pgbouncer.org/config.html (sections [databases] and [pgbouncer], %include, quoting of values).
"""

from __future__ import annotations

import re

from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.fediops.mastodon.plugins.module_utils._host import HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import SOCKET_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable

USUAL_PATH = "/etc/pgbouncer/pgbouncer.ini"
USUAL_PORT = 6432
MAX_BYTES = 1 << 20
MAX_DEPTH = 10  # PgBouncer's own limit of %include
_PAIR = re.compile(r"(\w+)\s*=\s*('(?:[^']|'')*'|\S*)")


class Behind(NamedTuple):
    """What a line of [databases] says: where the server is, and under which name, user and password PgBouncer goes there."""

    hosts: tuple[str, ...]
    port: int
    database: str
    user: str
    password: str
    sslmode: str


class Configuration(NamedTuple):
    """[databases] as written, and [pgbouncer]."""

    databases: dict[str, str]
    settings: dict[str, str]

    @property
    def port(self) -> int:
        text = self.settings.get("listen_port", "")
        return int(text) if text.isdigit() else USUAL_PORT

    def behind(self, name: str) -> Behind | None:
        """The server behind a database name; the entry * stands for all names without one of their own."""
        line = self.databases.get(name, self.databases.get("*"))
        if line is None:
            return None
        given = {key: _unquoted(value) for key, value in _PAIR.findall(line)}
        port = given.get("port", "")
        # Without a host PgBouncer goes by the Unix socket, in the directory where its own is.
        hosts = given.get("host") or self.settings.get("unix_socket_dir") or SOCKET_DIRECTORY
        return Behind(tuple(host.strip() for host in hosts.split(",") if host.strip()), int(port) if port.isdigit() else 5432,
                      given.get("dbname") or name, given.get("user", ""), given.get("password", ""),
                      self.settings.get("server_tls_sslmode", "prefer"))


def read(path: str, text_of: Callable[[str], str], depth: int = 0) -> Configuration:
    """The configuration of a file and those that it includes; HostError when one cannot be read."""
    found = Configuration({}, {})
    if depth > MAX_DEPTH:
        raise HostError("%s is included more than %d files deep" % (path, MAX_DEPTH))
    section: dict[str, str] = {}
    for line in text_of(path).splitlines():
        line = line.strip()
        if line.startswith("%include"):
            more = read(line[len("%include"):].strip(), text_of, depth + 1)
            found.databases.update(more.databases)
            found.settings.update(more.settings)
        elif line.startswith("["):
            section = {"[databases]": found.databases, "[pgbouncer]": found.settings}.get(line.lower(), {})
        elif line and line[0] not in ";#":
            key, equals, value = line.partition("=")
            if equals:
                section[key.strip().strip('"')] = value.strip()
    return found


def userlist(text: str) -> dict[str, str]:
    """Plain passwords of an auth_file; hashes (md5…, SCRAM-SHA-256$…) cannot be used to log in elsewhere."""
    pairs = re.findall(r'(?m)^\s*"((?:[^"]|"")*)"\s+"((?:[^"]|"")*)"', text)
    plain = {user.replace('""', '"'): password.replace('""', '"') for user, password in pairs}
    return {user: password for user, password in plain.items() if not re.match(r"md5[0-9a-f]{32}$|SCRAM-SHA-256\$", password)}


def _unquoted(value: str) -> str:
    return value[1:-1].replace("''", "'") if len(value) > 1 and value[0] == value[-1] == "'" else value
