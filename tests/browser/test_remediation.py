# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a remediation did, in a real browser: a row for each way in which a step can end, with what a reader needs to go on."""

from __future__ import annotations

import pytest

from ansible_collections.fediops.mastodon.plugins.plugin_utils._plan import Policy
from ansible_collections.fediops.mastodon.plugins.plugin_utils._run_folder import Board
from ansible_collections.fediops.mastodon.tests.unit.fixtures import browser as browsers
from ansible_collections.fediops.mastodon.tests.unit.fixtures import hosts, played
from ansible_collections.fediops.mastodon.tests.unit.fixtures.browser import low_contrast
from ansible_collections.fediops.mastodon.tests.unit.fixtures.played import Played, down, remediate

browser, show = browsers.browser, browsers.show  # the fixtures
board, no_waiting = played.board, played.no_waiting

EDITED = {"changes": [{"what": "/etc/x.conf", "before": "a\n", "after": "b\n"}, {"what": "unit x", "before": "", "after": "restart"}]}
PRUNED = {"undoable": False, "kept_because": "what was deleted can be fetched again", **EDITED}
SWAPPED = {"only_by_rollback": True, "kept_database": "mastodon_before", "state": "failed", "reason": "still found", **EDITED}
REFUSED = {"state": "refused", "reason": hosts.HOSTILE, "changes": []}
WORSE = hosts.healthy(database={"reachable": False, "address": "x:1", "error": {"kind": "refused", "message": "refused"}})
LEFT_OPEN = down(remediation={"open": {"id": "2026-run-left"}, "runs": [], "cured": {}})
CURE = {"fix": "restart_services", "issues": ["web_down_502"], "covers": ["web_down_502"], "state": "kept"}
CURED_OFTEN = down(
    remediation={"runs": [{"id": f"run-{day}", "state": "settled", "finished_epoch": hosts.NOW, "steps": [CURE]} for day in range(3)]}
)

# Each host ends in its own way: state, word of the row, words of its row and notes.
ROWS = {
    "kept": ("kept", "done", ()),
    "pruned": ("kept", "done", ("what was deleted can be fetched again",)),
    "undone": ("undone", "undone", ("web_down_502 is still found",)),
    "swapped": ("failed", "failed", ("still found; it stays in effect; only a rollback takes it back", "mastodon_before")),
    "refused": ("refused", "refused", ("<script>window.pwned=1</script>",)),
    "nothing": ("nothing", "nothing to do", ()),
    "denied": ("not_allowed", "not allowed", ("its impact restart is above what may be done", "-e mastodon_remediate_impact=restart")),
    "escalated": ("escalated", "escalated", ("was cured 3 times on this host within 24 h",)),
    "planned": ("planned", "planned", ("an earlier run was left open: 2026-run-left",)),
    "worse": ("undone", "undone", ("got worse: db_connection_refused",)),
    "spared": ("not_touched", "not touched", ("not touched: web1 got worse",)),
}


@pytest.fixture
def endings(board):
    """(facts, remediations) by host: what the product's own rounds and verdicts make of played hosts."""

    def done(facts, *after, shared=None, policy=None, check_mode=False, **step):
        here = shared or Board(str(len(told)))
        return remediate(Played(*after, states={"restart_services": step}), here, facts, policy=policy, check_mode=check_mode)

    well, told = hosts.healthy(), {}
    told["kept"] = well, done(down(), well, **EDITED)
    told["pruned"] = well, done(down(), well, **PRUNED)
    told["undone"] = down(), done(down(), down(), **EDITED)
    told["swapped"] = down(), done(down(), down(), **SWAPPED)
    told["refused"] = down(), done(down(), down(), **REFUSED)
    told["nothing"] = well, done(down(), well, state="nothing", changes=[])
    told["denied"] = down(), done(down(), policy=Policy("start"))
    told["escalated"] = CURED_OFTEN, done(CURED_OFTEN)
    told["planned"] = LEFT_OPEN, done(LEFT_OPEN, check_mode=True)
    told["worse"] = WORSE, done(down(), WORSE, shared=board, **EDITED)
    told["spared"] = down(), done(down(), shared=board)
    assert told.keys() == ROWS.keys()
    return {name: facts for name, (facts, _did) in told.items()}, {name: did for name, (_facts, did) in told.items()}


def unfolded(show, endings, language="en", width=1280, **options):
    facts, remediations = endings
    page = show(facts, language, remediations=remediations, viewport={"width": width, "height": 800}, **options)
    page.evaluate("document.body.classList.remove('many')")  # so that hosts off the screen are laid out too
    page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    return page


def test_a_row_for_each_ending(show, endings):
    page = unfolded(show, endings)
    for name, (state, word, texts) in ROWS.items():
        acts = page.locator(f'details[data-host="{name}"] .acts')
        row = acts.locator(f"li.act-{state}")
        assert (name, row.count()) == (name, 1)
        assert row.locator("b").first.inner_text() == word
        assert row.locator("code").first.inner_text() == "restart_services (restart): web_down_502"
        for text in texts:
            assert text in acts.inner_text(), (name, text)
    assert page.evaluate("window.pwned") is None


def test_evidence_of_before_and_after_unfolds(show, endings):
    facts, remediations = ({name: each[name] for name in ("undone", "planned")} for each in endings)
    page = show(facts, remediations=remediations)
    folds = page.locator('details[data-host="undone"] .act-undone details')
    assert [text.split()[0] for text in folds.locator("summary").all_inner_texts()] == ["changes", "before", "after"]
    for fold in folds.all():
        assert not fold.locator("li").first.is_visible()
        fold.locator("summary").click()
        assert fold.locator("li").first.is_visible()
    assert "127.0.0.1:3000 500" in folds.nth(1).inner_text()
    assert folds.nth(0).locator("li").all_inner_texts() == ["/etc/x.conf", "unit x: restart"]
    # What was before is told of a plan too; what will be after is not made up.
    planned = page.locator('details[data-host="planned"] .act-planned summary').all_inner_texts()
    assert [text.split()[0] for text in planned] == ["changes", "before"]


def test_the_way_back_is_a_command_where_there_is_one(show, endings):
    page = unfolded(show, endings)
    commands = {name: page.locator(f'details[data-host="{name}"] .acts > ul > li:not([class]) code') for name in ROWS}
    back = "ansible-playbook fediops.mastodon.rollback -e run=run-1 --limit {}"
    found = {name: found.all_inner_texts() for name, found in commands.items() if found.count()}
    assert found == {"kept": [back.format("kept")], "swapped": [back.format("swapped")]}
    # A finding that a remediation has just told of offers no command to do it again.
    assert page.locator(".command").count() == 0


def test_it_is_told_in_french(show, endings):
    page = unfolded(show, endings, "fr")
    words = {name: page.locator(f'details[data-host="{name}"] .acts b').first.inner_text() for name in ROWS}
    assert words == {
        "kept": "fait",
        "pruned": "fait",
        "undone": "annulé",
        "swapped": "échec",
        "refused": "refusé",
        "nothing": "rien à faire",
        "denied": "non permis",
        "escalated": "à examiner",
        "planned": "prévu",
        "worse": "annulé",
        "spared": "non touché",
    }
    text = page.locator('details[data-host="swapped"] .acts').inner_text()
    assert "seul un retour en arrière l'annule" in text and "pour revenir en arrière" in text and "only a rollback" not in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_row_can_be_read(show, endings, scheme):
    page = unfolded(show, endings, color_scheme=scheme)
    assert low_contrast(page) == []


@pytest.mark.parametrize("width", [320, 1280])
def test_no_row_hangs_over_the_side(show, endings, width):
    page = unfolded(show, endings, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_was_undone_is_told_first(show, endings):
    """One host with both: what went wrong is what a reader looks for."""
    facts, remediations = endings
    both = {**remediations["kept"], "steps": [*remediations["kept"]["steps"], *remediations["undone"]["steps"]]}
    page = show({"both": facts["undone"]}, remediations={"both": both})
    assert page.locator(".acts > ul > li b").all_inner_texts()[:2] == ["undone", "done"]
