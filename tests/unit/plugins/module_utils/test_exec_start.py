# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads and queues of a Sidekiq command, every other word as it was; the sums of connections and memory; quoting for systemd."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change import capacity, drop_in, exec_start
from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._change.sidekiq import Title, title

PLAIN = "/home/mastodon/.rbenv/shims/bundle exec sidekiq -c 25"
SHELL = "/bin/bash -lc 'cd /srv/m && exec bundle exec sidekiq -c 25 -q default'"


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        (PLAIN, PLAIN.replace("25", "5")),
        (SHELL, SHELL.replace("25", "5")),
        ("-/usr/bin/env X=%h bundle exec sidekiq --concurrency=25 -q a,2", "-/usr/bin/env X=%h bundle exec sidekiq --concurrency=5 -q a,2"),
        ("/usr/bin/bundle exec sidekiq -c ${THREADS} -C /etc/s.yml", "/usr/bin/bundle exec sidekiq -c 5 -C /etc/s.yml"),
        ("/usr/bin/bundle exec sidekiq", "/usr/bin/bundle exec sidekiq -c 5"),
        ("/usr/bin/bundle exec sidekiq -q default", "/usr/bin/bundle exec sidekiq -q default -c 5"),
    ],
)
def test_threads(command: str, wanted: str) -> None:
    assert exec_start.with_threads(command, 5) == wanted


@pytest.mark.parametrize("command", ["/bin/sh -c 'bundle exec sidekiq'", "/bin/sh -c 'sidekiq -c 5; true' x"])
def test_threads_that_would_go_to_the_shell_are_refused(command: str) -> None:
    with pytest.raises(Refused, match="by hand"):
        exec_start.with_threads(command, 7)


def test_queues() -> None:
    command = PLAIN + " -q default,8 -q push --queue=pull"
    assert exec_start.queues(command) == ["default", "push", "pull"]
    assert exec_start.with_queues(command, ["fasp"]) == command + " -q fasp"
    assert exec_start.without_queue(command, "default") == PLAIN + " -q push --queue=pull"
    assert exec_start.without_queue(command, "pull") == PLAIN + " -q default,8 -q push"
    with pytest.raises(Refused):
        exec_start.without_queue(PLAIN + " -q scheduler", "scheduler")
    with pytest.raises(Refused):
        exec_start.with_queues(SHELL, ["push"])


def test_an_empty_setting_takes_back_what_stood_before() -> None:
    assert (
        exec_start.last_command("[Service]\nExecStart=/x sidekiq \\\n  -c 1\n[Service]\nExecStart=\nExecStart=/y sidekiq\n") == "/y sidekiq"
    )
    assert exec_start.last_command("[Service]\nExecStart=/x sidekiq \\\n  -c 1\n") == "/x sidekiq    -c 1"
    for text in (
        "[Service]\nExecStart=/x puma\n",
        "[Unit]\nExecStart=/x sidekiq\n",
        "[Service]\nExecStart=/a sidekiq\nExecStart=/b sidekiq\n",
    ):
        with pytest.raises(Refused):
            exec_start.last_command(text)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("/srv/media", "/srv/media"), ("/srv/a b", '"/srv/a b"'), ("/srv/100%", "/srv/100%%"), ('/srv/"x\\y', '"/srv/\\"x\\\\y"')],
)
def test_words_of_a_unit_are_quoted(word: str, wanted: str) -> None:
    assert drop_in.quoted(word) == wanted


def test_a_line_break_does_not_become_a_setting() -> None:
    with pytest.raises(Refused):
        drop_in.quoted("/srv/x\nExecStart=/bin/sh")
    with pytest.raises(Refused):
        drop_in.path_of("../../etc/x", "env")


def test_connections_are_summed() -> None:
    units: list[dict[str, Any]] = [
        {"role": "web", "db_pool": 5, "workers": 2, "_env": {}},
        {"role": "sidekiq", "db_pool": 25, "_env": {}},
        {"role": "streaming", "_env": {}},
        {"role": "streaming", "_env": {"DB_POOL": "4"}},
    ]
    summed = capacity.connections(units, {}, {"max": 100, "reserved": 3, "used": 60})
    assert (summed.need, summed.others, summed.room) == (49, 11, 80)


def test_memory_is_measured() -> None:
    unit = {"memory_bytes": 500, "concurrency": 10}
    assert capacity.threads_memory_allows(unit, {"ram_bytes": 10000, "available_bytes": 2000}) == 20
    assert capacity.threads_memory_allows(dict(unit, memory_max_bytes=800), {"ram_bytes": 10000, "available_bytes": 2000}) == 4
    assert capacity.threads_memory_allows({"concurrency": 10}, {"ram_bytes": 10000, "available_bytes": 2000}) == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sidekiq 7.3.2 live [3 of 25 busy]", Title(3, False)),
        ("sidekiq 6.4.1 live [0 of 10 busy] stopping", Title(0, True)),
        ("sidekiq 6.4.1 live [0 of 10 busy] s\0", Title(0, True)),
        ("sidekiq 8.0.9 live [12 of 1", Title(12, False)),
        ("sidekiq 6.4.1 a-very-long-fol", Title(None, False)),
        ("/usr/bin/ruby bin/sidekiq -c 5", None),
        ("", None),
    ],
)
def test_titles_also_when_they_are_cut(text: str, wanted: Title | None) -> None:
    class Proc:
        def maybe(self, path: str, most: int) -> str:
            return text

    assert title(Proc(), "1") == wanted  # type: ignore[arg-type]
