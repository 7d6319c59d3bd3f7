# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where config/database.yml and libpq lead with these settings; used by the subset database.

Rails lays DATABASE_URL over database.yml key by key: what the URL does not say comes from DB_HOST and its like, and what those leave
empty from libpq (PG* variables, then its defaults). Sources: Rails, ConnectionUrlResolver; libpq-connect.html and libpq-envars.html.
"""

from __future__ import annotations

import re

from urllib.parse import parse_qsl, unquote, urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._observe.messages import is_url
from ansible_collections.fediops.mastodon.plugins.module_utils._postgres_target import SOCKET_DIRECTORY, Certificates, PostgresError, Target

# Each changes where the app goes or what it sees there in a way that this check does not follow.
_NOT_FOLLOWED = ("service", "hostaddr", "require_auth", "schema_search_path", "sslcrl", "requirepeer")
_AS_DEFAULT = {"target_session_attrs": ("any",), "gssencmode": ("disable", "prefer"), "sslnegotiation": ("postgres",)}
_HOST = re.compile(r"^(?:[A-Za-z0-9.%-]*|\[[0-9A-Fa-f:.]+\])$")


def targets(settings: dict[str, str], home: str) -> list[Target]:
    """The places in the order in which libpq tries them; PostgresError configuration or unsupported."""
    given = {"host": settings.get("DB_HOST", "localhost"), "port": settings.get("DB_PORT", "5432"),
             "username": settings.get("DB_USER", "mastodon"), "password": settings.get("DB_PASS", ""),
             "database": settings.get("DB_NAME", "mastodon_production"), "sslmode": settings.get("DB_SSLMODE", "prefer")}
    keys = {"host": "DB_HOST", "database": "DB_NAME"}
    url = _url(settings.get("DATABASE_URL", ""))
    given.update(url)
    for key in keys:
        if is_url(given[key]):
            name = "DATABASE_URL (%s=)" % key if key in url else keys[key]
            raise PostgresError("configuration", "%s holds a URL or credentials instead of a plain name; URLs go into DATABASE_URL" % name)
    for key in _NOT_FOLLOWED:
        if given.get(key):
            raise PostgresError("unsupported", "DATABASE_URL sets %s, which this check does not follow" % key)
    for key, usual in _AS_DEFAULT.items():
        if given.get(key, usual[0]) not in usual:
            raise PostgresError("unsupported", "DATABASE_URL sets %s, which this check does not follow" % key)
    user = given.get("user") or given["username"] or "mastodon"
    hosts = (given["host"] or settings.get("PGHOST") or SOCKET_DIRECTORY).split(",")
    ports = (given["port"] or settings.get("PGPORT") or "5432").split(",")
    if len(ports) not in (1, len(hosts)) or not all(re.match(r"^\d{1,5}$", port or "5432") for port in ports):
        raise PostgresError("configuration", "DB_PORT is not a number")
    base = Target("", 0, user, given["password"] or settings.get("PGPASSWORD", ""), given.get("dbname") or given["database"] or user,
                  given["sslmode"] or settings.get("PGSSLMODE") or "prefer", _certificates(given, settings, home),
                  given.get("channel_binding") or settings.get("PGCHANNELBINDING") or "prefer",
                  given.get("options") or settings.get("PGOPTIONS", ""))
    return [base._replace(host=host.strip() or SOCKET_DIRECTORY, port=int((ports[at] if len(ports) > 1 else ports[0]) or 5432))
            for at, host in enumerate(hosts)]


def password_file(settings: dict[str, str], home: str) -> str:
    """The password file that libpq reads, empty when there is none."""
    return _url(settings.get("DATABASE_URL", "")).get("passfile") or settings.get("PGPASSFILE") or (home and home + "/.pgpass")


def _certificates(given: dict[str, str], settings: dict[str, str], home: str) -> Certificates:
    named = {name: given.get(option) or settings.get(variable, "") for name, option, variable in (
        ("root", "sslrootcert", "PGSSLROOTCERT"), ("cert", "sslcert", "PGSSLCERT"), ("key", "sslkey", "PGSSLKEY"))}
    usual = {"root": "root.crt", "cert": "postgresql.crt", "key": "postgresql.key"}
    paths = {name: path or (home and "%s/.postgresql/%s" % (home, usual[name])) for name, path in named.items()}
    return Certificates(paths["root"], paths["cert"], paths["key"], given.get("sslpassword", ""), tuple(filter(None, named.values())))


def _url(url: str) -> dict[str, str]:
    """What DATABASE_URL says, under the names of database.yml and libpq; what it leaves empty is left out."""
    if not url:
        return {}
    try:
        parts = urlsplit(url)
        user_info, _at, place = parts.netloc.rpartition("@")
        name, _colon, number = place.rpartition(":") if re.search(r":\d*$", place) else (place, "", "")
        # Rails' parser takes one host of letters, digits, dots and dashes here; lists and sockets go into ?host=.
        if not parts.scheme.startswith("postgres") or not _HOST.match(name):
            raise ValueError
        user, _colon, password = user_info.partition(":")
        found = {"username": unquote(user), "password": unquote(password), "host": unquote(name).strip("[]"), "port": number,
                 "database": unquote(parts.path.lstrip("/"))}
        found.update(parse_qsl(parts.query))
    except ValueError:
        raise PostgresError("configuration", "DATABASE_URL is not of the form postgresql://user:password@host:port/name") from None
    return {key: value for key, value in found.items() if value}
