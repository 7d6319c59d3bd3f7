# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a probe may leave behind is on disk before it is made, and read back whole after a kill."""

from __future__ import annotations

import json
import os
import pathlib

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Unfit
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.material import UNICODE, difference, picture, text_of
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.record import MARKER, Record, new_marker

URL = "https://mastodon.example"


def abandoned(folder, *lines):
    """The file of a run that was killed."""
    path = pathlib.Path(folder) / f"{new_marker()}.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


def test_nothing_is_left_of_a_run_that_deleted_everything(tmp_path):
    record = Record.begin(str(tmp_path / "new"), URL)
    marker = new_marker()
    record.note(marker, kind="post", sure=False)
    assert Record.left_by_others(str(tmp_path / "new"), URL) == []  # alive
    record.note(marker, id="1", sure=True)
    record.note(marker, gone=True)
    record.close()
    assert os.listdir(tmp_path / "new") == []
    assert oct((tmp_path / "new").stat().st_mode & 0o777) == "0o700"


def test_a_killed_run_is_read_but_for_its_last_half_line(tmp_path):
    one, two, three = new_marker(), new_marker(), new_marker()
    path = abandoned(
        tmp_path,
        json.dumps({"url": URL}).encode(),
        json.dumps({"account": "7"}).encode(),
        json.dumps({"marker": one, "kind": "post", "sure": False}).encode(),
        json.dumps({"marker": one, "id": "11", "sure": True}).encode(),
        json.dumps({"marker": two, "kind": "media", "sure": True}).encode(),
        json.dumps({"marker": three, "kind": "post"}).encode(),
        json.dumps({"marker": three, "gone": True}).encode(),
        b'{"marker": "fedi',
    )
    assert Record.left_by_others(str(tmp_path), "https://another.example") == []
    (record,) = Record.left_by_others(str(tmp_path), URL)
    assert record.account == "7"
    assert record.entries == {one: {"kind": "post", "sure": False, "id": "11"}, two: {"kind": "media", "sure": False}}
    assert Record.left_by_others(str(tmp_path), URL) == []  # in our hands
    for marker in (one, two):
        record.note(marker, gone=True)
    record.close()
    assert not path.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\0\xff", b"[1]\n7\nnull", b'{"marker": 7}', b'{"url": "https://mastodon.example", "marker": {}}']
)
def test_files_of_strangers_are_harmless(tmp_path, content):
    abandoned(tmp_path, content)
    for record in Record.left_by_others(str(tmp_path), URL):
        assert record.entries == {}
        record.close()


def test_a_link_or_a_pipe_is_not_opened(tmp_path):
    (tmp_path / "target").write_text(json.dumps({"url": URL}) + "\n", encoding="utf-8")
    (tmp_path / f"{new_marker()}.jsonl").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / f"{new_marker()}.jsonl")
    assert Record.left_by_others(str(tmp_path), URL) == []


def test_without_a_place_to_write_nothing_is_posted(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(Unfit, match=r"nothing was posted, .*name another folder with state_dir"):
        Record.begin(str(tmp_path / "file"), URL)


def test_a_full_disk_stops_before_the_post_and_not_after_it(tmp_path, monkeypatch):
    record = Record.begin(str(tmp_path), URL)
    posted = new_marker()
    record.note(posted, kind="post", sure=False)

    def full(_told):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "_write", full)
    record.note(posted, id="1", sure=True)
    with pytest.raises(Unfit, match="No space left"):
        record.note(new_marker(), kind="post", sure=False)
    assert record.entries == {posted: {"kind": "post", "sure": True, "id": "1"}}
    record.close()


def test_a_marker_tells_its_time():
    assert MARKER.fullmatch(new_marker())
    assert new_marker() != new_marker()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (f"<p>a {UNICODE}</p>", f"a {UNICODE}"),
        ("<p>one &amp; two &lt;b&gt; &#39;x&#39;<br />next</p>", "one & two <b> 'x'\nnext"),
        ('<p>see <a href="https://x"><span class="invisible">https://</span>x</a></p>', "see https://x"),
        ("<p>broken <", "broken <"),
        ("", ""),
    ],
)
def test_html_is_taken_off(content, text):
    assert text_of(content) == text


def test_the_text_has_letters_of_every_length():
    assert {len(letter.encode()) for letter in UNICODE} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    ("sent", "got", "told"),
    [
        ("a\U0001f418", "a\U0001f418", ""),
        ("a\U0001f418", "a?", "character 2 was sent as '\\U0001f418' and came back as '?'"),
        ("a\u00e9", "a\u00c3\u00a9", "character 2 was sent as '\\xe9' and came back as '\\xc3\\xa9'"),
        ("abc", "ab", "character 3 was sent as 'c' and came back as ''"),
    ],
)
def test_damage_is_told_in_ascii(sent, got, told):
    assert difference(sent, got) == told


def test_the_picture_is_a_png():
    data = picture()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xae\x42\x60\x82") and len(data) < 20_000
