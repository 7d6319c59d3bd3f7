# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in a real browser. Needs Debian's chromium; without it the tests fail, they are never skipped."""

from __future__ import annotations

import re
import time

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import html
from ansible_collections.fediops.mastodon.tests.unit.fixtures import browser as browsers
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts
from ansible_collections.fediops.mastodon.tests.unit.fixtures.browser import low_contrast

browser, show = browsers.browser, browsers.show  # the fixtures

MIXED = {"web1": hosts.broken(), "db1": hosts.healthy(), "web3": hosts.hostile()}
GONE = {"web2": "unreachable: no route to host"}


def test_english_only_reasons_and_evidence_are_shown_in_french(show):
    page = show(MIXED, "fr", unreachable=GONE)
    for words in ("no route to host", "PG::DiskFull: could not extend file"):
        assert page.get_by_text(words).first.is_visible()


def test_it_renders_the_cause_first(show):
    page = show(MIXED, unreachable=GONE)
    assert page.title() == "Mastodon diagnosis: 2 of 4 servers have faults"
    assert page.locator("h1").inner_text() == "Mastodon diagnosis"
    assert page.locator(".cause").first.inner_text().startswith("critical")
    assert "disk_full" in page.locator(".cause").first.inner_text()
    cells = page.locator('tr[data-host="web1"] td').all_inner_texts()
    assert cells == ["faults", "critical", "warning", "critical", "error", "critical", "ok"]
    assert page.locator('tr[data-host="web2"] td').nth(1).inner_text() == "unknown"
    assert "no route to host" in page.locator('details[data-host="web2"]').inner_text()


def test_evidence_folds(show):
    page = show(MIXED)
    evidence = page.locator("details.evidence").first
    assert evidence.locator("li").first.is_visible()
    evidence.locator("summary").click()
    assert not evidence.locator("li").first.is_visible()
    evidence.locator("summary").focus()
    page.keyboard.press("Enter")
    assert evidence.locator("li").first.is_visible()
    page.locator("#close-all").click()
    assert page.locator("details.host[open]").count() == 0
    page.locator("#open-all").click()
    assert page.locator("details.host[open]").count() == 3


def test_the_language_changes_without_a_reload(show):
    page = show(MIXED)
    page.evaluate("window.same = true")
    page.locator('[data-language="fr"]').click()
    assert page.evaluate("window.same") is True
    assert page.evaluate("document.documentElement.lang") == "fr"
    assert page.title().startswith("Diagnostic Mastodon")
    text = page.locator("body").inner_text()
    assert "PostgreSQL ne répond pas" in text
    assert not re.search(r"\b(What is wrong|What to do|critical|faults|Evidence|servers)\b", text)
    assert page.locator("#theme").get_attribute("aria-label") == "Clair ou sombre"
    assert page.locator("#shown").inner_text() == "3 serveurs affichés sur 3"
    page.locator('[data-language="en"]').click()
    assert "PostgreSQL does not answer" in page.locator("body").inner_text()


def test_without_a_script_it_shows_the_chosen_language_and_folds(show):
    page = show(MIXED, language="fr", java_script_enabled=False)
    text = page.locator("main").inner_text()
    assert "Ce qui ne va pas" in text
    assert "What is wrong" not in text
    assert not page.locator(".filters").is_visible()
    assert not page.locator(".tools").is_visible()
    details = page.locator('details[data-host="db1"]')
    assert not details.locator(".inside").is_visible()
    details.locator("summary").first.click()
    assert details.locator(".inside").is_visible()


def test_filters_by_name_and_verdict(show):
    page = show(MIXED, unreachable=GONE)
    page.locator("#filter-name").fill("WEB")
    assert page.locator("tbody tr:visible").count() == 3
    assert page.locator("details.host:visible").count() == 3
    assert page.locator("#shown").inner_text() == "3 of 4 servers shown"
    page.locator('[data-verdict="incomplete"]').click()
    assert page.locator("tbody tr:visible th").all_inner_texts() == ["web2"]
    assert page.locator('[data-verdict="incomplete"]').get_attribute("aria-pressed") == "true"
    page.locator("#filter-name").fill("")
    page.locator('[data-verdict=""]').click()
    assert page.locator("tbody tr:visible").count() == 4


def test_a_link_opens_the_server_even_when_filtered_out(show):
    page = show(MIXED)
    page.locator("#close-all").click()
    page.locator("#filter-name").fill("db1")
    page.locator('.cause a:text-is("web1")').first.click()
    assert page.locator('details[data-host="web1"]').get_attribute("open") is not None
    assert page.locator('details[data-host="web1"]').is_visible()


def test_strangers_text_shows_as_text_and_runs_nothing(show):
    page = show({"web3": hosts.hostile()})
    text = page.locator("body").inner_text()
    assert "<script>window.pwned=1</script> {{ lookup('pipe','id') }}" in text
    assert "uid=" not in text
    assert page.evaluate("window.pwned") is None


def test_the_policy_would_stop_what_got_through(browser, tmp_path):
    """Put markup behind the escaping: the policy alone must hold it."""
    path = tmp_path / "index.html"
    page_text = html.render(hosts.diagnose(MIXED)).replace(
        "<main>", '<main><script>window.pwned=1</script><img src="x" onerror="window.pwned=2"><p id="red" style="color:red">x</p>'
    )
    path.write_text(page_text, encoding="utf-8")
    page = browser.new_page()
    told = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(path.as_uri())
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("getComputedStyle(document.getElementById('red')).color") != "rgb(255, 0, 0)"
    assert sum("Content Security Policy" in line or "Content-Security-Policy" in line for line in told) >= 3
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(show, scheme):
    facts = hosts.healthy()
    facts["media"]["tools"][0]["works"] = False
    page = show({**MIXED, "side1": facts}, unreachable=GONE, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    assert low_contrast(page) == []


def test_dark_by_preference_and_by_choice(show):
    page = show(MIXED, color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 120
    page.locator("#theme").click()
    assert sum(map(int, re.findall(r"\d+", page.evaluate(background))[:3])) > 600
    page.reload()
    assert page.evaluate(background) != dark


def test_it_is_made_for_keyboard_and_screen_reader(show):
    page = show(MIXED)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    assert page.locator("main").count() == page.locator("header").count() == 1
    unnamed = "[...document.querySelectorAll('button,input,a')].filter((e) => !(e.innerText || e.ariaLabel || e.labels?.length)).length"
    assert page.evaluate(unnamed) == 0
    assert page.locator("th[scope]").count() == page.locator("th").count()
    assert page.evaluate(
        "[...document.querySelectorAll('[id]')].length === new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size"
    )


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_hangs_over_the_side(show, width):
    page = show(MIXED, unreachable=GONE, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_printing_shows_what_is_folded(show):
    page = show(MIXED)
    page.locator("#close-all").click()
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator('details[data-host="web1"] .advice').first.is_visible()
    assert not page.locator(".filters").is_visible()


def test_five_hundred_hosts_open_fast(show, tmp_path):
    some = hosts.healthy(web=hosts.broken()["web"], sidekiq=hosts.broken()["sidekiq"])
    some["media"]["tools"][0]["works"] = False
    facts = {f"host{number:03}.mastodon.example": some for number in range(500)}
    page = show(facts)
    took = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    size = (tmp_path / "index.html").stat().st_size
    start = time.perf_counter()
    page.locator("#filter-name").fill("host42")
    assert page.locator("tbody tr:visible").count() == 10
    filtered = time.perf_counter() - start
    print(f"\n500 hosts, 3 findings each: {size / 1e6:.1f} MB, open in {took:.0f} ms, filtered in {filtered * 1000:.0f} ms")
    assert page.locator("details.host[open]").count() == 0
