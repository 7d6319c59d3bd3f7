# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Mastodon's settings lead to Redis, and what a Redis that says no makes of the facts. Real servers: tests/live."""

from __future__ import annotations

import json
import socket
import threading
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._dotenv import parse
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._observe import database, redis, sidekiq
from ansible_collections.fediops.mastodon.plugins.module_utils._observe.redis_target import place
from ansible_collections.fediops.mastodon.plugins.module_utils._redis import RedisError, from_url

Answer = Callable[[list[str]], bytes]
Serve = Callable[[Answer], int]


def read_commands(link: socket.socket) -> Iterator[list[str]]:
    stream = link.makefile("rb")
    while True:
        head = stream.readline()
        if not head:
            return
        words = []
        for _word in range(int(head[1:])):
            length = int(stream.readline()[1:])
            words.append(stream.read(length + 2)[:-2].decode())
        yield words


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers each command by a function; its port."""
    listeners: list[socket.socket] = []

    def start(answer: Answer) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def talk(link: socket.socket) -> None:
            with link:
                try:
                    for words in read_commands(link):
                        link.sendall(answer(words))
                except OSError:
                    pass

        def run() -> None:
            while True:
                try:
                    link = listener.accept()[0]
                except OSError:
                    return
                threading.Thread(target=talk, args=(link,), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for each in listeners:
        each.close()


def install(settings: dict[str, str], number: tuple[int, ...] = (4, 4, 0)) -> dict[str, Any]:
    return {"units": [], "_files": {}, "_environment": settings, "_dotenv": settings, "version": {"number": list(number)}}


def host() -> Host:
    return Host(time.monotonic() + 8)


@pytest.mark.parametrize(
    ("settings", "use", "number", "label"),
    [
        ({}, "", (4, 3), "localhost:6379/0"),
        ({"REDIS_HOST": "h", "SIDEKIQ_REDIS_DB": "1"}, "SIDEKIQ_", (4, 3), "h:6379/0"),
        ({"REDIS_HOST": "h", "SIDEKIQ_REDIS_DB": "1"}, "SIDEKIQ_", (4, 2), "localhost:6379/1"),
        ({"REDIS_HOST": "h", "SIDEKIQ_REDIS_PASSWORD": "x"}, "SIDEKIQ_", (4, 5), "h:6379/0"),
        ({"REDIS_HOST": "h"}, "CACHE_", (4, 2), "h:6379/0"),
        ({"REDIS_URL": "redis://a:1/2", "REDIS_HOST": "b"}, "", (4, 3), "a:1/2"),
        ({"REDIS_URL": "", "REDIS_HOST": "b"}, "", (4, 2), "b:6379/0"),
        ({"CACHE_REDIS_HOST": "c", "CACHE_REDIS_PORT": "7"}, "CACHE_", (4, 3), "c:7/0"),
        # Sentinels without a master's name are not used, nor are those of the base for another use, nor any up to 4.2.
        ({"REDIS_SENTINELS": "s1,s2", "REDIS_HOST": "h"}, "", (4, 3), "h:6379/0"),
        ({"REDIS_SENTINELS": "s", "REDIS_SENTINEL_MASTER": "m", "SIDEKIQ_REDIS_HOST": "k"}, "SIDEKIQ_", (4, 3), "k:6379/0"),
        ({"REDIS_SENTINELS": "s", "REDIS_SENTINEL_MASTER": "m", "REDIS_HOST": "h"}, "", (4, 2), "h:6379/0"),
        ({"REDIS_SENTINELS": "s", "REDIS_SENTINEL_MASTER": "m", "REDIS_URL": "redis://u"}, "", (4, 3), "u:6379/0"),
    ],
)
def test_places(settings: dict[str, str], use: str, number: tuple[int, ...], label: str) -> None:
    found = place(settings, use, number)
    assert found.target.label == label
    assert not found.sentinels


def test_sentinels() -> None:
    settings = {"REDIS_SENTINELS": "s1, s2:7", "REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINEL_PORT": "5", "REDIS_PASSWORD": "base",
                "REDIS_SENTINEL_USERNAME": "who", "REDIS_DB": "3", "SIDEKIQ_REDIS_DB": "4"}
    for use in ("", "SIDEKIQ_"):
        found = place(settings, use, (4, 3))
        assert [each.label for each in found.sentinels] == ["s1:5/0", "s2:7/0"]
        assert {(each.user, each.password) for each in found.sentinels} == {("who", "base")}
        assert (found.target.host, found.target.database) == ("m", 3)
    own = place(dict(settings, REDIS_SENTINEL_PASSWORD="own"), "", (4, 3))
    assert own.sentinels[0].password == "own" and own.target.password == "base"


@pytest.mark.parametrize(
    "settings",
    [
        {"REDIS_HOST": "redis://:hidden@h"},
        {"REDIS_HOST": "hidden@h"},
        {"REDIS_HOST": ""},
        {"REDIS_URL": ""},
        {"REDIS_URL": "hidden"},
        {"REDIS_PORT": "hidden"},
        {"REDIS_SENTINELS": "redis://:hidden@s", "REDIS_SENTINEL_MASTER": "m"},
    ],
)
def test_settings_the_app_cannot_start_with(settings: dict[str, str]) -> None:
    with pytest.raises(RedisError) as raised:
        place(settings, "", (4, 3))
    assert raised.value.kind == "configuration" and "hidden" not in str(raised.value)
    facts = redis.observe(host(), install(settings, (4, 3)))
    assert "hidden" not in json.dumps(facts) and "address" not in facts["uses"]["app"]


@pytest.mark.parametrize("observer", [redis.observe, sidekiq.observe, database.observe])
def test_a_setting_that_is_the_output_of_a_command_is_unknown(observer: Callable[[Host, dict[str, Any]], Any], tmp_path: Path) -> None:
    parsed = parse(b"DB_PASS=$(cat /x)\nREDIS_PASSWORD=$(cat /x)\n")
    ground = dict(install(parsed.values), root=str(tmp_path))
    ground["_files"] = {".env.production": {"keys": parsed.values, "problems": [list(each) for each in parsed.problems]}}
    with pytest.raises(HostError, match="output of a command"):
        observer(host(), ground)


def test_a_lone_user_in_a_url() -> None:
    assert from_url("redis://sec@h").password == ""
    assert from_url("redis://sec@h", lone_user_is_password=True)[4:6] == ("", "sec")


def test_a_renamed_auth_does_not_show_the_password(serve: Serve) -> None:
    port = serve(lambda words: b"-ERR unknown command 'AUTH', with args beginning with: '%s'\r\n" % words[-1].encode())
    settings = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port), "REDIS_PASSWORD": "S3cretPW99"}
    facts = redis.observe(host(), install(settings))
    assert facts["uses"]["app"]["error"]["message"].endswith("answered ERR")
    assert "S3cretPW99" not in json.dumps(facts)
    facts = sidekiq.observe(host(), install(settings))
    assert facts.keys() == {"error"} and "S3cretPW99" not in json.dumps(facts)


def test_redis_rb_4_tries_the_password_alone(serve: Serve) -> None:
    def answer(words: list[str]) -> bytes:
        if words[0] == "AUTH":
            return b"-WRONGPASS invalid username-password pair\r\n" if len(words) == 3 else b"+OK\r\n"
        return b"$11\r\nrole:master\r\n" if words[0] == "INFO" else b"*0\r\n" if words[0] == "CONFIG" else b"+PONG\r\n"

    settings = {"REDIS_URL": f"redis://someone:secret@127.0.0.1:{serve(answer)}/0"}
    uses = redis.observe(host(), install(settings))["uses"]
    assert (uses["app"]["reachable"], uses["cache"]["reachable"]) == (True, True)
    assert uses["sidekiq"]["error"]["kind"] == "auth"  # redis-client does not


def healthy(words: list[str]) -> bytes:
    return {"PING": b"+PONG\r\n", "SMEMBERS": b"*0\r\n", "ZCARD": b":0\r\n", "ZRANGE": b"*0\r\n", "LLEN": b":0\r\n",
            "LINDEX": b"$-1\r\n", "HMGET": b"*4\r\n" + b"$-1\r\n" * 4}.get(words[0], b"-ERR unknown\r\n")


@pytest.mark.parametrize("command", ["SMEMBERS", "HMGET", "LLEN", "ZCARD"])
@pytest.mark.parametrize("code", ["LOADING", "NOPERM", "MASTERDOWN", "WRONGTYPE"])
def test_what_redis_does_not_tell_is_unknown(serve: Serve, command: str, code: str) -> None:
    def answer(words: list[str]) -> bytes:
        if words[0] == command:
            return f"-{code} and words about it\r\n".encode()
        return b"*1\r\n$3\r\na:1\r\n" if words == ["SMEMBERS", "processes"] else healthy(words)

    with pytest.raises(HostError, match=f"answered {command} with {code}$"):
        sidekiq.observe(host(), install({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(serve(answer))}))


@pytest.mark.parametrize(("skew", "age"), [(65.0, 65.0), (-65.0, 0.0)])
def test_a_clock_that_differs_does_not_empty_the_processes(serve: Serve, skew: float, age: float) -> None:
    info = json.dumps({"hostname": "web1", "pid": 1, "concurrency": 5, "queues": ["default"]})
    beat = str(time.time() - skew)

    def answer(words: list[str]) -> bytes:
        if words == ["SMEMBERS", "processes"]:
            return b"*2\r\n$3\r\na:1\r\n$3\r\nb:2\r\n"
        if words[0] == "HMGET":
            values = [info, "0", beat, "false"] if words[1] == "a:1" else []
            return b"*4\r\n" + (b"".join(b"$%d\r\n%s\r\n" % (len(each), each.encode()) for each in values) or b"$-1\r\n" * 4)
        return healthy(words)

    facts = sidekiq.observe(host(), install({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(serve(answer))}))
    assert [each["identity"] for each in facts["processes"]] == ["a:1"]
    assert facts["processes"][0]["beat_age_seconds"] == pytest.approx(age, abs=2)
    assert facts["stale_processes"] == 1


@pytest.mark.parametrize(("table", "factor"), [("a:1:workers", 1), ("a:1:work", 1), ("a:1:work", 1000)])
def test_since_when_jobs_run(serve: Serve, table: str, factor: int) -> None:
    """Sidekiq 6, 7 and 8; one job says in its arguments that it runs since 1970, one is too large to be fetched."""
    begun = time.time() - 100
    values = {"x": '{"queue":"default","payload":"{\\"run_at\\":1}","run_at":%d}' % ((begun - 20) * factor),
              "y": '{"queue":"default","payload":{"args":["\\"run_at\\":1}"]},"run_at":%d}' % (begun * factor), "z": "large"}

    def answer(words: list[str]) -> bytes:
        if words == ["SMEMBERS", "processes"]:
            return b"*1\r\n$3\r\na:1\r\n"
        if words[0] == "HKEYS":
            return b"*3\r\n" + b"".join(b"$1\r\n%s\r\n" % each.encode() for each in values) if words[1] == table else b"*0\r\n"
        if words[0] == "HSTRLEN":
            return b":%d\r\n" % (200000 if words[2] == "z" else len(values[words[2]]))
        if words[0] == "HGET":
            return b"$%d\r\n%s\r\n" % (len(values[words[2]]), values[words[2]].encode())
        return healthy(words)

    facts = sidekiq.observe(host(), install({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(serve(answer))}))
    assert facts["running"] == {"jobs": 2, "newest_seconds": pytest.approx(100, abs=3), "oldest_seconds": pytest.approx(120, abs=3)}


def test_the_master_that_a_sentinel_names_is_asked(serve: Serve) -> None:
    master = serve(lambda words: b"$10\r\nrole:maste\r\n" if words[0] == "INFO" else b"*0\r\n" if words[0] == "CONFIG" else b"+OK\r\n")
    named = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(master)), master)
    replies = {"SENTINEL": named, "AUTH": b"-ERR AUTH without password\r\n"}
    sentinel = serve(lambda words: replies.get(words[0], b"+OK\r\n"))
    facts = redis.observe(host(), install({"REDIS_SENTINELS": f"127.0.0.1:1,127.0.0.1:{sentinel}", "REDIS_SENTINEL_MASTER": "m",
                                           "REDIS_PASSWORD": "secret"}))
    assert facts["uses"]["app"]["address"] == f"127.0.0.1:{master}/0"
    assert facts["uses"]["app"]["reachable"] is True


def test_a_server_that_drips_ends_with_the_time(serve: Serve) -> None:
    def answer(_words: list[str]) -> bytes:
        time.sleep(0.3)
        return b"$100000\r\n"

    begin = time.monotonic()
    facts = redis.observe(Host(time.monotonic() + 1.5), install({"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(serve(answer))}))
    assert facts["uses"]["app"]["error"]["kind"] == "timeout"
    assert time.monotonic() - begin < 3
