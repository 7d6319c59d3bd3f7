# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the terminal shows."""

from __future__ import annotations

import re

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _waivers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import terminal, texts
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

GOLDEN = """\
db1   CLEAR  6 known issues checked                                              1.9 s
web1  FAULTS  1 root cause, 4 symptoms explained                                 1.9 s
  x critical  disk_full   / has 0 B free
     because   df / 100 % · pg_diskfull x214 09:20-11:19 UTC
     explains  redis_misconf_disk · db_connection_refused · web_down_502 · Sidekiq is
               2 h 1 min behind
     fix       Find what fills / and free it:
               RAILS_ENV=production bin/tootctl media remove --days=7
               journalctl --vacuum-size=500M
     automatic reclaim_disk (prune)
       ansible-playbook fediops.mastodon.remediate -e mastodon_remediate_impact=prune --limit web1
web2  INCOMPLETE
  ? could not be looked at: unreachable: no route to host
web4  INCOMPLETE  5 known issues checked, 1 not checkable                        1.9 s
  ? unknown   sidekiq_backlog  Redis did not answer

Report: /tmp/r/index.html"""


def mixed(**options):
    silent = hosts.healthy()
    del silent["sidekiq"]
    silent["probes"]["sidekiq"] = {"state": "timeout", "seconds": 10.0, "reason": "Redis did not answer"}
    return hosts.diagnose(
        {"db1": hosts.healthy(), "web1": hosts.broken(), "web4": silent}, unreachable={"web2": "unreachable: no route to host"}, **options
    )


def test_as_the_issue_sketches_it():
    assert terminal.render(mixed(), width=86, where="/tmp/r/index.html") == GOLDEN


def test_french_has_no_english_left():
    text = terminal.render(mixed(), language="fr", where="/x")
    assert "PANNES  1 cause racine, 4 symptômes expliqués" in text
    assert not re.search(r"\b(because|explains|FAULTS|CLEAR|unknown|checked|Report:)\b", text)


def test_colours_only_when_asked_for():
    coloured = terminal.render(mixed(), colour=True)
    assert "\x1b[1;31m" in coloured
    plain = terminal.render(mixed(), colour=False)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize("width", [60, 79, 120, 400])
def test_lines_fit(width):
    facts = hosts.broken()
    facts["database"]["error"]["message"] = "word " * 60
    text = terminal.render(hosts.diagnose({"web1": facts}), width=width)
    commands = [line for line in text.splitlines() if line.startswith("       ansible-playbook ")]
    assert max(len(line) for line in text.splitlines() if line not in commands) <= min(width, 160)
    assert [line.split()[-1] for line in commands] == ["web1"]  # whole, to be pasted


def test_recorded_hosts_are_marked():
    text = terminal.render(hosts.diagnose({"web1": hosts.healthy(recorded=True)}))
    assert "[recorded facts, host not asked]" in text
    assert "1.9 s" not in text


def test_waivers_are_shown():
    waivers = _waivers.read_waivers([{"id": "disk_full", "reason": "moves on Monday", "until": "2026-01-01"}], hosts.catalogue())
    assert "- waived  disk_full  moves on Monday (until 2026-01-01)" in terminal.render(mixed(waivers=waivers))


def test_a_note_is_no_waiver():
    diagnosis = mixed()
    diagnosis["hosts"]["web1"]["findings"][0]["note"] = {"en": "Where it runs.", "fr": "Là où ça tourne."}
    assert re.search(r"(?m)^     note +Where it runs\.$", terminal.render(diagnosis))


def test_a_cause_elsewhere_is_named():
    database = hosts.healthy()
    database["disk"] = hosts.broken()["disk"]
    database["install"]["roles"] = ["database"]
    web = hosts.healthy(database={**hosts.broken()["database"], "address": "db.internal:5432"})
    web["install"]["roles"] = ["web"]
    text = terminal.render(hosts.diagnose({"db1": database, "web1": web}))
    assert "caused by db1/disk_full" in text
    assert "explains  web1/db_connection_refused" in text
    assert "web1  FAULTS  0 root causes, 1 symptom explained" in text


def test_of_many_hosts_the_clear_ones_are_counted():
    facts = {f"host{number:02}": hosts.healthy() for number in range(24)}
    facts["host07"] = hosts.broken()
    text = terminal.render(hosts.diagnose(facts))
    assert "host07  FAULTS" in text
    assert "CLEAR  23 more hosts: nothing found" in text
    assert "host08" not in text


def test_strangers_text_cannot_steer():
    text = terminal.render(hosts.diagnose({"web1": hosts.hostile()}))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{ lookup('pipe','id') }}" in re.sub(r"\s+", " ", text)


def test_every_word_has_both_languages():
    for key, words in texts.TEXTS.items():
        assert len(words) == 2, key
        assert all(words), key
        fields = [set(re.findall(r"{(\w+)}", word)) for word in words]
        assert fields[0] == fields[1], key
