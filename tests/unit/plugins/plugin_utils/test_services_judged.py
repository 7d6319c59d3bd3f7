# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the facts of proxy, settings and stores prove: recorded facts of a healthy server, one of them changed."""

from __future__ import annotations

import copy
import json

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._catalogue import load
from ansible_collections.fediops.mastodon.plugins.plugin_utils._diagnosis import diagnose

HEALTHY = json.loads((Path(__file__).parents[4] / "inventories" / "demo" / "facts" / "healthy.json").read_text(encoding="utf-8"))
NOW = HEALTHY["time_epoch"]
LIMIT = 99 << 20
PROXY = {
    "upstream_web_is_local": True, "max_body_bytes": LIMIT, "largest_upload_bytes": LIMIT, "changed_epoch": NOW - 9000,
    "headers": {"host": "$host", "x_forwarded_for": "$proxy_add_x_forwarded_for", "x_forwarded_proto": "$scheme"},
    "certificate": {"path": "/c.pem", "expires_epoch": NOW + 9, "served_expires_epoch": NOW + 9},
    "public": {"path": "/home/mastodon/live/public", "user": "www-data", "closed": []},
}  # fmt: skip
CIRCLE = {"logs.proxy_requests": {"total": 40, "by_status": {"200": 9, "301": 31}, "server_errors": 0}}
REFUSED = {"logs.signatures": {"nginx_config_wrong.refused": {
    "count": 1, "first_epoch": NOW - 60, "last_epoch": NOW - 60,
    "samples": [{"origin": "proxy", "name": "nginx.service", "time_epoch": NOW - 60, "text": "nginx: [emerg] x"}],
}}}  # fmt: skip


def sidekiq(stops: int, ends: int, seconds_ago: float, stop_timeout_seconds: float | None = 10.0) -> dict[str, Any]:
    """Sidekiq in a container that was started that long ago, and what its log says of its stops before."""
    short = stop_timeout_seconds is not None and stop_timeout_seconds <= 25
    change = {"since_epoch": NOW - seconds_ago, "stop_timeout_seconds": stop_timeout_seconds, "stop_short": short}
    units = [{**unit, **(change if unit["role"] == "sidekiq" else {})} for unit in HEALTHY["services"]["units"]]
    sample = {"origin": "sidekiq", "name": "mastodon-sidekiq-1", "time_epoch": NOW - 60, "text": "x"}
    seen = {
        f"stop_timeout_too_short.{name}": {"count": count, "first_epoch": NOW - 60, "last_epoch": NOW - 60, "samples": [sample]}
        for name, count in (("stopping", stops), ("ended", ends))
        if count
    }
    return {"install.deployment": "docker", "services.units": units, "logs.signatures": seen}


EVICTS = {"maxmemory_bytes": 1 << 30, "maxmemory_policy": "allkeys-lru"}
CASES: list[tuple[dict[str, Any], str, str]] = [  # what is changed, the issue, its fix
    ({}, "", ""),
    ({"proxy.public.closed": ["/home/mastodon"]}, "nginx_home_permissions", "open_home"),
    ({"proxy.max_body_bytes": 1 << 20}, "proxy_body_size", ""),
    ({"proxy.max_body_bytes": 0}, "", ""),
    ({"proxy.headers": {"x_forwarded_for": "x", "x_forwarded_proto": "x"}}, "proxy_headers_wrong", ""),
    # A proxy before this one may send it.
    ({"proxy.headers": {"host": "x"}}, "", ""),
    ({"proxy.headers": {"host": "x"}, **CIRCLE}, "proxy_headers_wrong", ""),
    (CIRCLE, "", ""),
    ({"proxy.certificate": {"path": "/c", "expires_epoch": NOW - 9}}, "tls_expired", ""),
    ({"proxy.certificate.expires_epoch": NOW - 9}, "", ""),
    ({"proxy.certificate.served_expires_epoch": NOW - 9}, "tls_expired", "restart_services"),
    ({"environment.trusted_proxies": {"this_host": True, "invalid": []}}, "", ""),
    ({"environment.trusted_proxies": {"this_host": False, "invalid": []}}, "trusted_proxy_misconfigured", "set_trusted_proxies"),
    ({"environment.trusted_proxies": {"this_host": False, "invalid": ["x"]}}, "trusted_proxy_misconfigured", ""),
    ({"environment.settings.REDIS_NAMESPACE": ""}, "redis_namespace_unsupported", ""),
    ({"proxy.upstream_streaming": []}, "streaming_proxy_misrouted", ""),
    ({"proxy.upstream_streaming": [], "environment.settings.STREAMING_API_BASE_URL": "wss://s.example"}, "", ""),
    ({f"redis.uses.app.{key}": value for key, value in EVICTS.items()}, "redis_eviction_policy", "fix_redis_policy"),
    ({f"redis.uses.cache.{key}": value for key, value in EVICTS.items()}, "", ""),
    (REFUSED, "nginx_config_wrong", ""),
    (sidekiq(2, 1, 50), "stop_timeout_too_short", "set_stop_timeout"),
    (sidekiq(2, 2, 50), "", ""),
    # It may be stopping just now.
    (sidekiq(2, 1, 70), "", ""),
    (sidekiq(2, 1, 50, 60), "", ""),
    (sidekiq(2, 1, 50, None), "", ""),
    # It was mended since.
    ({**REFUSED, "proxy.changed_epoch": NOW - 30}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "issue", "fix"), CASES)
def test_facts_prove(changes: dict[str, Any], issue: str, fix: str) -> None:
    facts = copy.deepcopy(HEALTHY)
    facts["proxy"].update(copy.deepcopy(PROXY))
    for path, value in changes.items():
        *way, last = path.split(".")
        place = facts
        for step in way:
            place = place[step]
        place[last] = value
    host = diagnose({"web1": facts}, load(), now=NOW, run={})["hosts"]["web1"]
    found = [(finding["id"], (finding["fix"] or {}).get("name", "")) for finding in host["findings"] if finding["rank"] == 1]
    assert found == ([(issue, fix)] if issue else [])
    for finding in host["findings"]:
        assert all(each["value"] for each in finding["evidence"]), finding["evidence"]
        assert finding["evidence"] or issue == "", finding
