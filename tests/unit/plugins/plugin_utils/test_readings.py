# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only two lines together say: readings of Sidekiq, the end of a certificate and the date, halves of JSON."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._end_date import EndDate
from ansible_collections.fediops.mastodon.plugins.plugin_utils._json_pieces import JsonPieces
from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_pages import Failure
from ansible_collections.fediops.mastodon.plugins.plugin_utils._sidekiq_readings import SidekiqReadings

STILL = "no job was processed between two readings"
GROW = "the queues grow while jobs are processed"
HUNG = "jobs running for 3 hours and more"
UNTAKEN = "No Sidekiq process running for the mailers queue"
TWO = "$ for i in 1 2; do redis-cli llen queue:pull; redis-cli get stat:processed; sleep 60; done"
DATE = "Wed Nov 20 09:14:02 UTC 2024"
JOB = "beet:1:9f  1dc9  {}  ingress  ActivityPub::ProcessingWorker  {}"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["  Processed: 2,817,664", "  Busy: 10", "  Enqueued: 902", "  Processed: 2,817,664", "  Enqueued: 5,310"], STILL),
        (["  Processed: 2,817,664", "  Busy: 10", "  Enqueued: 902", "  Processed: 2,817,664", "  Enqueued: 902"], ""),  # at once
        (["  Processed: 2,817,664", "  Busy: 0", "  Processed: 2,817,664"], ""),  # idle
        (["  Processed: 2,817,664", "  Busy: 10", "  Processed: 2,817,700"], ""),
        ([TWO, '"60901"', '"44120118"', '"61604"', '"44121402"'], GROW),
        ([TWO, '"60901"', '"44120118"', '"60701"', '"44121402"'], ""),
        ([TWO, '"901"', '"44120118"', '"1604"', '"44121402"'], ""),  # soon done
        (["push=41077 pull=12210 processed=18840311", "push=49912 pull=14030 processed=18861904"], GROW),
        (["> 2.times { puts Sidekiq::Stats.new.processed; sleep 600 }", "88120411", "88120411"], STILL),
        (["> 2.times { puts Sidekiq::Stats.new.processed; sleep 5 }", "88120411", "88120411"], ""),
        (["44120118", "44120118"], ""),  # of whatever
        ([JOB.format("a", "2024-11-19 04:16:22 +0000"), JOB.format("b", "2024-11-20 01:00:00 +0000"), DATE], HUNG),
        ([JOB.format("a", "2024-11-19 04:16:22 +0000"), JOB.format("b", "2024-11-20 09:14:01 +0000"), DATE], ""),
        ([JOB.format("a", "2024-11-19 04:16:22 +0000"), DATE], ""),  # an import takes long
        (["sidekiq -q default -q push", "sidekiq -q pull,2", "default 0", "mailers 1862", "pull 500"], UNTAKEN),
        (["sidekiq -q default -q push", "sidekiq -q mailers", "mailers 1862"], ""),
        (["mailers 1862"], ""),
        (["sidekiq -q default", "mailers 1862 0.4"], ""),  # somebody else takes them
        (["-rw-r--r-- 1 a a 1 default.conf", "2024-01-01 00:00:00 push notifications", "2024-01-01 00:00:00 pull", DATE], ""),
        (['=> [["toot", ["default", "pull"], "0 of 25"]]', '=> [["default", 0, 0], ["mailers", 48211, 86391]]'], UNTAKEN),
    ],
)
def test_readings_of_sidekiq(lines: list[str], told: str) -> None:
    reader = SidekiqReadings()
    assert "".join(map(reader.told, lines)) == told


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["notAfter=Mar  9 02:11:08 2025 GMT", "Mon Mar 10 09:20:14 UTC 2025"], True),
        (["Mon Mar 10 09:20:14 UTC 2025", "notAfter=Mar  9 02:11:08 2025 GMT"], True),
        (["Mon Mar 10 09:20:14 UTC 2025", "notAfter=Mar 10 09:20:15 2025 GMT"], False),
        (["Mon Mar 10 09:20:14 AEST 2025", "notAfter=Mar  9 20:20:15 2025 GMT"], False),  # it was not over there
        (["2025-03-10 09:20:14", "notAfter=Mar  9 02:11:08 2025 GMT"], True),
        (["notAfter=Mar  9 02:11:08 2025 GMT"], False),
        (["notAfter=Mar  9 02:11:08 2025 GMT", "notAfter=Jun  9 02:11:08 2025 GMT", "Mon Mar 10 09:20:14 UTC 2025"], False),
        (["Mon Mar 40 99:20:14 UTC 2025", "notAfter=Mar 99 99:99:99 2025 GMT"], False),
    ],
)
def test_the_end_of_a_certificate(lines: list[str], told: bool) -> None:
    reader = EndDate()
    assert ("certificate: ended" in map(reader.told, lines)) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('"error_message":"it expired","error_class":"Net::OpenTimeout","retry":3}', Failure("unknown", "Net::OpenTimeout", "it expired")),
        ('"wrapped":"X::Job","error_class":"IOError","error_message":"a\\"b"', Failure("X::Job", "IOError", 'a"b')),
        ('"stack":"ReplyError: WRONGPASS x\\n    at y","z":1', "ReplyError: WRONGPASS x"),
        ('at x","severity":"FATAL","code":"53300","file":"postinit.c"}', "Error: sorry, too many clients already"),
        ('at x","severity":"ERROR","code":"23505"}', None),
        ('at y","command":{"name":"auth","args":["x"]}},"msg":"x"}', "Redis Client Error! ReplyError: ERR invalid password"),
        ('not able to persist on disk.\\n","stream":"stdout","time":"2017-06-24T18:45:33Z"}', "not able to persist on disk."),
        ('{"code":"53300","stack":"x"}', None),  # whole, and read elsewhere
        ("a line of text", None),
        ('"a":' + '"\\' * 100_000, None),
    ],
)  # fmt: skip
def test_pieces_of_json(line: str, told: Failure | str | None) -> None:
    assert JsonPieces("streaming").told(line) == told


def test_pieces_of_json_behind_another_line_may_be_a_strangers() -> None:
    reader = JsonPieces("streaming")
    assert reader.told("ERR! Error parsing message from user 1: x") is None
    assert reader.told('"error_class": "PG::ConnectionBad", "error_message":"x"') is None
    assert JsonPieces("web").told('method=GET path=/x"code":"28P01" status=404') is None
