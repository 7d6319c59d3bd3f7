# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of two hosts are compared, and neither is told; addresses and clocks of hosts."""

from __future__ import annotations

import concurrent.futures
import json
import socket

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.module_utils import _addresses, _clock
from ansible_collections.fediops.mastodon.plugins.module_utils._fingerprint import KEY, LENGTH, fingerprints
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _run_folder

ONE, OTHER = "0" * 64, "1" * 64
NAMES = ("SECRET_KEY_BASE", "OTP_SECRET")


def test_equal_secrets_have_equal_fingerprints_within_one_run_only():
    here, there = (fingerprints(ONE, {"SECRET_KEY_BASE": "s" * 128}, NAMES) for _host in range(2))
    assert here == there and set(here) == {"SECRET_KEY_BASE", "run"}  # what is not defined has none
    later = fingerprints(OTHER, {"SECRET_KEY_BASE": "s" * 128}, NAMES)
    assert later["SECRET_KEY_BASE"] != here["SECRET_KEY_BASE"] and later["run"] != here["run"]


def test_two_names_with_one_value_look_different():
    same = fingerprints(ONE, dict.fromkeys(NAMES, "x"), NAMES)
    assert same["SECRET_KEY_BASE"] != same["OTP_SECRET"]


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_value_has_one(value, other):
    found, others = (fingerprints(ONE, {"OTP_SECRET": each}, NAMES)["OTP_SECRET"] for each in (value, other))
    assert len(found) == LENGTH
    assert (found == others) == (value == other)


def test_the_key_of_a_run_is_one_for_all_its_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(_run_folder, "_folder", lambda: tmp_path)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _number: _run_folder.secret("fingerprints"), range(64)))
    assert len(keys) == 1 and KEY.match(keys.pop())
    (left,) = tmp_path.iterdir()
    assert left.stat().st_mode & 0o077 == 0


def test_without_a_place_to_share_it_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(_run_folder, "_folder", lambda: tmp_path / "gone")
    assert _run_folder.secret("fingerprints") == ""


TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     |-- 192.0.2.2
        /32 host LOCAL
     |-- 192.0.2.255
        /32 link BROADCAST
"""
INET6 = """00000000000000000000000000000001 01 80 10 80       lo
20010db8000000000000000000000005 02 40 00 80     eth0
fe800000000000000042acfffe110002 02 40 20 80     eth0
"""


class Files:
    def __init__(self, **files):
        self.files = files

    def maybe(self, path, _most):
        return self.files.get(path.rsplit("/", 1)[1])


def test_own_addresses():
    assert _addresses.own(Files(fib_trie=TRIE, if_inet6=INET6)) == ["192.0.2.2", "2001:db8::5"]
    assert _addresses.own(Files()) == []
    assert _addresses.own(Files(fib_trie="x" * 500, if_inet6="zz 1\n" * 3)) == []
    many = "".join(f"|-- 10.0.{number}.1\n   /32 host LOCAL\n" for number in range(200))
    assert len(_addresses.own(Files(fib_trie=many))) == _addresses.MOST_OWN


def test_names_of_servers():
    facts = {
        "database": {"address": "db.internal:5432"},
        "redis": {"uses": {"app": {"address": "[2001:db8::5]:6379/0"}, "cache": {"address": "cache.internal:6379/1"}, "sidekiq": {}}},
        "web": {"endpoints": [{"address": "127.0.0.1:3000"}, {"address": "web2:3000"}, {"address": "/run/puma.sock"}]},
    }
    assert _addresses.names(facts) == ["db.internal", "cache.internal", "web2"]
    assert _addresses.names({"database": {"address": "localhost:5432"}}) == []


def test_a_name_that_does_not_resolve_is_left_out(monkeypatch):
    def answer(name, _port, proto):
        if name == "gone.invalid":
            raise socket.gaierror(-2, "unknown")
        return [(2, 1, 6, "", ("192.0.2.5", 0)), (2, 2, 6, "", ("192.0.2.5", 0))]

    monkeypatch.setattr(_addresses.socket, "getaddrinfo", answer)
    assert _addresses.resolve(["db.internal", "gone.invalid"]) == {"db.internal": ["192.0.2.5"]}


def test_the_kernel_tells_of_its_clock():
    assert _clock.synchronized() in (True, False)
    assert json.dumps(_clock.synchronized())
