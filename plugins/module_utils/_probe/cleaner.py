# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletes what a probe made, and finds what it may have made without hearing of it (private, may change any time)."""

from __future__ import annotations

import contextlib
import functools
import itertools
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.api import Failed, id_of
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Unfit
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.material import text_of
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.record import age_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.fediops.mastodon.plugins.module_utils._probe.api import Api
    from ansible_collections.fediops.mastodon.plugins.module_utils._probe.record import Record

# A request whose answer was lost may still be worked on: Mastodon gives one up after 90 s, Puma's queue before it comes on top.
UNSURE_SECONDS = 150.0
PAUSE_SECONDS = (0.3, 0.7, 1.0, 2.0, 4.0, 8.0, 8.0, 15.0)
SWEPT_SECONDS = 7 * 86400.0
ALIVE_SECONDS = 1800.0  # the probe of somebody else may still need its post
VACUUM = "Mastodon deletes uploads without a post by itself after a day"
VACUUM_SECONDS = 2 * 86400


class Cleaner:
    def __init__(self, api: Api, *, deletes_media: bool) -> None:
        self._api = api
        self._deletes_media = deletes_media
        self._repeated: set[str] = set()
        self.reasons: dict[str, str] = {}  # marker -> why it is still there
        self.kept: list[dict[str, Any]] = []  # what stays for good

    def clean(self, records: list[Record], until: float) -> bool:
        """Round after round until nothing is open or the time (monotonic) is over; whether nothing is open."""
        for pause in itertools.chain(PAUSE_SECONDS, itertools.repeat(PAUSE_SECONDS[-1])):
            for record in records:
                self._round(record)
            if not any(record.entries for record in records) or time.monotonic() + pause > until:
                break
            time.sleep(pause)
        return not any(record.entries for record in records)

    def left(self, records: list[Record]) -> list[dict[str, Any]]:
        """What is open or stays: {kind, id?, reason, gone_within_seconds?}."""
        told = list(self.kept)
        for record in records:
            for marker, entry in record.entries.items():
                reason = self.reasons.get(marker) or "was not looked for yet"
                told.append(_told(entry, reason))
        return told

    def _round(self, record: Record) -> None:
        lost = [marker for marker, entry in record.entries.items() if entry["kind"] == "post" and "id" not in entry]
        if lost:
            self._trying(lost, lambda: self._look(record, lost))
        # Posts first: an upload that a post has cannot be deleted.
        for marker in sorted(record.entries, key=lambda marker: record.entries[marker]["kind"] == "media"):
            if marker not in lost:
                self._trying([marker], functools.partial(self._delete, record, marker, record.entries[marker]))

    def _trying(self, markers: list[str], act: Callable[[], None]) -> None:
        try:
            act()
        except (Failed, Unfit) as problem:
            self.reasons.update(dict.fromkeys(markers, str(problem)))

    def sweep(self, account: str) -> int:
        """Delete posts of probes that nobody remembers: of controllers whose disk is gone with them."""
        swept = 0
        with contextlib.suppress(Failed):
            for status_id, marker in self._api.mine(account, time.time() - SWEPT_SECONDS).items():
                if age_seconds(marker) > ALIVE_SECONDS:
                    self._api.delete(status_id)
                    swept += 1
        return swept

    def _look(self, record: Record, lost: list[str]) -> None:
        """Find posts whose id was never heard; what is not there although its request is over was never made."""
        if not record.account:
            record.belongs_to(self._api.account())
        if not record.account:
            self._repeat(record, lost)
        if not record.account:
            self.reasons.update(dict.fromkeys(lost, "the answer to this post was lost, and the token (without the scope read:accounts) may "
                                                    "not ask whose posts to look through"))
            return
        lost = [marker for marker in lost if marker in record.entries]
        if not lost:
            return
        found = self._api.mine(record.account, time.time() - max(map(age_seconds, lost)) - 3600)
        for status_id, marker in found.items():
            if marker in lost:
                self._api.delete(status_id)
        for marker in lost:
            # One request makes one post; of one that was repeated, and made a second time, the first may still come.
            known = marker in found.values() and marker not in self._repeated
            if known or record.entries[marker]["sure"] or age_seconds(marker) > UNSURE_SECONDS:
                record.note(marker, gone=True)
            else:
                self.reasons[marker] = "the answer to this post was lost and the server may still make it; it is looked for again"

    def _repeat(self, record: Record, lost: list[str]) -> None:
        """The same key once more: the answer is the first post, or a second one, and tells whose posts to look through.

        Only where the server answers: on one that hangs it would be one more request nobody knows the end of.
        """
        for marker in lost:
            if marker not in self._repeated and not record.entries[marker]["sure"]:
                self._repeated.add(marker)
                with contextlib.suppress(Failed, Unfit):
                    post = self._api.create(marker, marker)
                    record.belongs_to(id_of(post.get("account")))
                    self._api.delete(id_of(post))
                    if text_of(str(post.get("content"))) != marker:  # the words of the first, so it was made and is over
                        record.note(marker, gone=True)
                    return

    def _delete(self, record: Record, marker: str, entry: dict[str, Any]) -> None:
        if entry["kind"] == "post":
            self._api.delete(entry["id"])
            record.note(marker, gone=True)
        elif "id" not in entry:
            if entry["sure"]:
                record.note(marker, gone=True)
            else:
                self._give_up(record, marker, "the answer to this upload was lost, and with it its id; " + VACUUM)
        elif not self._deletes_media:
            self._give_up(record, marker, "this version of Mastodon has no way to delete it; " + VACUUM)
        elif self._api.delete_media(entry["id"]):
            record.note(marker, gone=True)
        else:
            self.reasons[marker] = "it goes with its post, which is deleted, in a job that Sidekiq has not done yet"

    def _give_up(self, record: Record, marker: str, reason: str) -> None:
        self.kept.append(dict(_told(record.entries[marker], reason), gone_within_seconds=VACUUM_SECONDS))
        record.note(marker, gone=True)


def _told(entry: dict[str, Any], reason: str) -> dict[str, Any]:
    return dict({"kind": entry["kind"], "reason": reason}, **({"id": entry["id"]} if "id" in entry else {}))
