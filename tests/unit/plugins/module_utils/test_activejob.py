# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail that could not be sent is told twice, by ActiveJob with its frames and by Sidekiq with its job's id: it is one failure."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.fediops.mastodon.tests.unit.fixtures import log_door
from ansible_collections.fediops.mastodon.tests.unit.fixtures.trace_door import NOW, RID, SIDEKIQ, WEB, Machine, entry, trace

MAIL, UUID = "ActionMailer::MailDeliveryJob", "0aa4bd7c-3c71-4b5e-9c4a-6d2f3b0a1c2d"
JID, OTHER_JID = "0123456789abcdef01234567", "89abcdef0123456789abcdef"
REFUSED = "Errno::ECONNREFUSED", 'Connection refused - connect(2) for "localhost" port 25'
FRAME = "app/mailers/application_mailer.rb:12:in 'deliver'"


def activejob(at: float) -> list[tuple[float, str, str, int]]:
    error = f"Error performing {MAIL} (Job ID: {UUID}) from Sidekiq(mailers) in 2.4ms: {REFUSED[0]} ({REFUSED[1]}):"
    lines = [f"E, [2025-11-21T14:00:01.000000 #200] ERROR -- : [ActiveJob] [{MAIL}] [{UUID}] {error}", FRAME]
    return [(at + number * 1e-5, SIDEKIQ, text, 200) for number, text in enumerate(lines)]


def sidekiq(at: float, message: str = REFUSED[1], jid: str = JID) -> list[tuple[float, str, str, int]]:
    prefix = "2025-11-21T14:00:01.002Z pid=200 tid=abc"
    quoted = f'{{"context":"Job raised exception","job":{{"wrapped":"{MAIL}","jid":"{jid}","args":[{{"job_id":"{UUID}"}}]}}}}'
    words = [f" class={MAIL} jid={jid} elapsed=0.1 INFO: fail", f" WARN: {quoted}", f" WARN: {REFUSED[0]}: {message}", f" WARN: {FRAME}"]
    return [(at + number * 1e-5, SIDEKIQ, prefix + text, 200) for number, text in enumerate(words)]


def counted(*lines: list[tuple[float, str, str, int]]) -> list[tuple[str, int]]:
    found = log_door.observe(log_door.Door(b"".join(entry(*one) for part in lines for one in part)))
    assert found["jobs"]["failed"] == sum("INFO: fail" in text for part in lines for _at, _unit, text, _pid in part)
    return [(one["class"], one["count"]) for one in found["exceptions"]]


def test_one_failure_is_counted_once() -> None:
    assert counted(activejob(NOW), sidekiq(NOW + 0.01)) == [(REFUSED[0], 1)]
    assert counted(activejob(NOW), sidekiq(NOW + 0.01), activejob(NOW + 20), sidekiq(NOW + 20.01)) == [(REFUSED[0], 2)]


@pytest.mark.parametrize("second", [sidekiq(NOW + 30), sidekiq(NOW + 0.01, "Connection reset by peer")])
def test_later_or_with_other_words_it_is_another_failure(second: Any) -> None:
    assert sum(count for _class, count in counted(activejob(NOW), second)) == 2


def test_what_sidekiq_alone_tells_is_counted() -> None:
    assert counted(sidekiq(NOW), sidekiq(NOW + 0.01, jid=OTHER_JID)) == [(REFUSED[0], 2)]


def test_a_trace_shows_it_once_with_frames_and_the_id_of_the_job() -> None:
    enqueued = f"I, [2025-11-21T14:00:00.100000 #100]  INFO -- : [{RID}] [ActiveJob] Enqueued {MAIL} (Job ID: {UUID}) to Sidekiq(mailers)"
    machine = Machine([(NOW, WEB, enqueued, 100), *activejob(NOW + 1.2), *sidekiq(NOW + 1.21)])
    stacks = trace(machine)["stacks"]
    assert [(stack["class"], stack["job"], stack["frames"]) for stack in stacks] == [(REFUSED[0], JID, [FRAME])]
