# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a report: Markdown, JUnit and JSON, and how they are written."""

from __future__ import annotations

import json
import re
import stat
import xml.etree.ElementTree as ET

import pytest

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import html, json_report, junit, markdown, writer
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts

HOSTILE = hosts.diagnose({"web1": hosts.hostile(), "db1": hosts.healthy()}, unreachable={"web2": f"unreachable: {hosts.HOSTILE}"})
NASTY = st.text(alphabet=st.sampled_from("`<>[]()!@#*_{}|\\&~'\"ab:/. \n"), max_size=40) | st.text(max_size=40)


def test_json_is_the_diagnosis():
    assert json.loads(json_report.render(HOSTILE)) == HOSTILE


def test_junit_counts():
    root = ET.fromstring(
        junit.render(hosts.diagnose({"web1": hosts.broken(), "db1": hosts.healthy()}, unreachable={"web2": "unreachable"}))
    )
    suites = {suite.get("name"): suite for suite in root}
    assert {name: (suite.get("tests"), suite.get("failures"), suite.get("skipped")) for name, suite in suites.items()} == {
        "db1": ("6", "0", "0"),
        "web1": ("6", "5", "0"),
        "web2": ("1", "0", "1"),
    }
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("13", "5", "1")
    kinds = {failure.get("type") for failure in suites["web1"].iter("failure")}
    assert kinds == {"root-cause.critical", "symptom.critical", "symptom.error", "symptom.warning"}


def test_junit_advice_does_not_fail():
    facts = hosts.healthy()
    facts["media"]["tools"][0]["works"] = False
    root = ET.fromstring(junit.render(hosts.diagnose({"web1": facts})))
    assert root.get("failures") == "0"
    assert "ffmpeg missing" in root.findtext(".//system-out")


@given(NASTY)
def test_junit_is_always_xml(value):
    facts = hosts.hostile()
    facts["database"]["error"]["message"] = value
    ET.fromstring(junit.render(hosts.diagnose({"web1": facts}, unreachable={f"h{value}": value})))


@given(NASTY)
def test_markdown_of_strangers_makes_nothing(value):
    shown = markdown.escape(value)
    assert "\n" not in shown
    assert "<" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[\[\]`*_|#!]", shown)
    assert not re.search(r"@\w", shown)
    assert not re.search(r"https?:|www\.", shown)


@given(NASTY)
def test_code_and_blocks_end_where_they_should(value):
    code = markdown.code(value)
    assert code == "" or (code[0] == code[-1] == "`" and "`" not in code[1:-1] and "\n" not in code)
    lines = markdown.block(value).split("\n")
    fence = lines[-1].strip()
    assert set(fence) == {"`"}
    assert lines[0] == f"  {fence}text"
    assert all(fence not in line for line in lines[1:-1])


def test_markdown_names_the_cause_and_what_to_do():
    text = markdown.render(hosts.diagnose({"web1": hosts.broken()}), "fr")
    assert "- **critique** `disk_full`: / : 0 B libres" in text
    assert "journalctl --vacuum-size=500M" in text


def test_why_nothing_is_done_stands_in_every_file():
    diagnosis = hosts.diagnose({"web1": hosts.broken()})
    finding = diagnosis["hosts"]["web1"]["findings"][0]
    finding.update(no_fix={"en": "No *cure*.", "fr": "Pas de *remède*."}, note={"en": "A note.", "fr": "Une note."})
    assert "\n  Pas de \\*remède\\*.\n\n  Une note.\n" in markdown.render(diagnosis, "fr")
    failure = next(ET.fromstring(junit.render(diagnosis, "fr")).iter("failure"))
    assert failure.text.endswith("\nPas de *remède*.\nUne note.")
    assert "Pas de *remède*." in html.render(diagnosis, "fr")


def test_html_says_what_is_english_only():
    page = html.render(HOSTILE, "fr")
    shown = re.findall(r'<(?:span|p) class="(?:value )?as-is" lang="(\w*)">([^<]*)', page)
    assert {language for language, _text in shown} == {"en", ""}  # log lines are in whatever language their server speaks
    assert any(text.startswith("unreachable: ") for language, text in shown if language == "en")
    hidden = re.search(r'html\[lang="fr"\] body \[lang="en"\]:not\(([^)]*)\)', page)[1]
    assert ".as-is" in hidden


@pytest.mark.parametrize("language", ["en", "fr"])
def test_html_escapes_and_allows_only_its_own(language):
    page = html.render(HOSTILE, language)
    assert "<script>window" not in page
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt; {{ lookup(" in page
    assert page.count("<script") == 1
    assert page.count("<style") == 1
    assert not re.search(r"""\s(?:on\w+|style)=["']""", page)
    assert not re.search(r"""(?:src|href)=["'](?!#|https://docs\.|https://redis\.)""", page)
    assert f'<html lang="{language}">' in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]{44}'; script-src 'sha256-[\w+/=]{44}'; base-uri 'none'; form-action 'none'", policy
    )


@given(NASTY)
def test_html_holds_no_markup_of_strangers(value):
    facts = hosts.broken()
    facts["database"]["error"]["message"] = f"<b>{value}</b>"
    assert "<b>" not in html.render(hosts.diagnose({"web1": facts})).partition("<main>")[2].replace("<b>1</b>", "").replace("<b>0</b>", "")


def test_written_at_once_and_for_the_group_only(tmp_path):
    folder = tmp_path / "a" / "report"
    files = writer.write(folder, {"one.txt": "é", "two.txt": "2"})
    assert files == [str(folder / "one.txt"), str(folder / "two.txt")]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert stat.S_IMODE((folder / "one.txt").stat().st_mode) == 0o640
    assert sorted(path.name for path in folder.iterdir()) == ["one.txt", "two.txt"]


def test_a_failure_leaves_the_last_report(tmp_path):
    writer.write(tmp_path, {"one.txt": "old"})
    with pytest.raises(writer.WriteError, match="cannot be written to"):
        writer.write(tmp_path, {"one.txt": "new", "no/such/folder.txt": "x"})
    assert (tmp_path / "one.txt").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["one.txt"]


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "report").write_text("", encoding="utf-8")
    with pytest.raises(writer.WriteError, match="set mastodon_report_dir to a folder"):
        writer.write(tmp_path / "report", {"one.txt": "x"})
