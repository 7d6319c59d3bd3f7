# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three posts to a server, each read back and deleted: plain ASCII, other scripts, with a picture (private, may change any time).

They differ in one thing each, so that what fails says what is broken.
"""

from __future__ import annotations

import contextlib
import os
import re
import time

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.api import Api, Failed, id_of
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.cleaner import UNSURE_SECONDS, Cleaner
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Client, Unfit, server_of, tls_context
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.material import (
    PICTURE_NAME,
    PLAIN,
    UNICODE,
    difference,
    picture,
    text_of,
)
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.record import Record, default_folder, new_marker

if TYPE_CHECKING:
    from collections.abc import Callable

CLEAN_SECONDS = 20.0  # somebody waits so long for the cleaning; it goes on behind their back
REREAD = 4
REREAD_SECONDS = 0.5
PROCESS_SECONDS = 30.0
MEDIA_DELETABLE = (4, 4)


def budget_seconds(options: dict[str, Any]) -> float:
    """How long the whole may take until its result is there, at most."""
    return 8.0 * float(options["timeout"]) + PROCESS_SECONDS + CLEAN_SECONDS


def probe(options: dict[str, Any], going_on: Callable[[], None], tell: Callable[[dict[str, Any]], None]) -> None:
    """Post, tell what came of it, then clean until nothing is left. `going_on` raises Unfit when the probe is to stop.

    Told is {state, reason?, facts}: the facts of docs/facts.md, with the posts that were tried until it stopped.
    """
    started = time.monotonic()
    facts: dict[str, Any] = {"posts": {}, "skipped": {}}
    told: dict[str, Any] = {"state": "ok", "facts": facts}
    records: list[Record] = []
    cleaner = None
    try:
        server = server_of(options["url"], options["address"])
        facts["url"] = server.url
        client = Client(server, tls_context(options["ca_path"], options["validate_certs"]), options["token"], float(options["timeout"]))
        api = Api(client)
        folder = options["state_dir"] or default_folder()
        last = started + 6.0 * client.seconds + PROCESS_SECONDS

        def go_on() -> None:
            going_on()
            if time.monotonic() > last:
                raise Unfit("%s is so slow that the probe was given up after %.0f s" % (server.url, time.monotonic() - started))

        client.before = go_on
        posts = _Posts(api, facts, options["media"])
        if posts.reach():
            account = ""
            with contextlib.suppress(Failed):  # if it is more than this one request, posting fails too, and tells more
                account = api.account()
            cleaner = Cleaner(api, deletes_media=posts.deletes_media)
            records = Record.left_by_others(folder, server.url)
            facts["cleaned"] = sum(len(record.entries) for record in records) + (cleaner.sweep(account) if account else 0)
            records.append(Record.begin(folder, server.url))
            records[-1].belongs_to(account)
            posts.run(records[-1])
    except Unfit as problem:
        told.update(state="failed", reason=str(problem))
    except Exception as problem:  # what was posted has to be deleted all the same
        told.update(state="failed", reason=_internal(problem))
    if cleaner is not None:
        client.before = lambda: None
        cleaner.clean(records, time.monotonic() + CLEAN_SECONDS)
        facts["left"] = cleaner.left(records)
    open_ones = [record for record in records if not record.close_if_done()]
    facts["seconds"] = round(time.monotonic() - started, 3)
    tell(told)
    if cleaner is not None and open_ones:
        cleaner.clean(open_ones, time.monotonic() + UNSURE_SECONDS)
        for record in open_ones:
            record.close()


def _internal(problem: Exception) -> str:
    """The class and the place only: the message of an exception may quote the token."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "%s:%d" % (os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno) if trace is not None else "?"
    return "internal error %s at %s; please report it" % (type(problem).__name__, where)


class _Posts:
    def __init__(self, api: Api, facts: dict[str, Any], media: str) -> None:
        self._api = api
        self._facts = facts
        self._media = media
        self.deletes_media = False

    def reach(self) -> bool:
        """Whether a Mastodon answers there; what it says it is."""
        started = time.monotonic()
        try:
            version = self._api.version()
        except Failed as problem:
            self._fail("plain", problem, started)
            self._skip("unicode", "media")
            return False
        self._facts["version"] = version
        number = re.match(r"(\d{1,3})\.(\d{1,3})", version)
        self.deletes_media = number is not None and (int(number.group(1)), int(number.group(2))) >= MEDIA_DELETABLE
        return True

    def run(self, record: Record) -> None:
        self._record = record
        if self._try("plain", lambda: self._post(PLAIN)) == "failed":
            self._skip("unicode", "media")
            return
        self._try("unicode", lambda: self._post(UNICODE))
        if self._media == "never":
            self._facts["skipped"]["media"] = "not asked for"
        elif self._media == "auto" and not self.deletes_media:
            self._facts["skipped"]["media"] = ("Mastodon %s cannot delete an upload, it does so by itself after a day; media: always "
                                               "(mastodon_probe_media) uploads a small picture all the same" % self._facts["version"])
        else:
            self._try("media", self._post_picture)

    def _try(self, name: str, act: Callable[[], str]) -> str:
        started = time.monotonic()
        try:
            problem = act()
        except Failed as failed:
            self._fail(name, failed, started)
            return "failed"
        told: dict[str, Any] = {"state": "damaged" if problem else "ok", "seconds": round(time.monotonic() - started, 3)}
        if problem:
            told.update(step="read", error={"kind": "text", "message": problem})
        self._facts["posts"][name] = told
        return str(told["state"])

    def _fail(self, name: str, failed: Failed, started: float) -> None:
        self._facts["posts"][name] = dict(failed.told, state="failed", seconds=round(time.monotonic() - started, 3))

    def _skip(self, *names: str) -> None:
        self._facts["skipped"].update(dict.fromkeys(names, "a plain post failed already"))

    def _making(self, kind: str, make: Callable[[str], Any]) -> tuple[str, Any]:
        """Write down what may be made, make it, write down its id."""
        marker = new_marker()
        self._record.note(marker, kind=kind, sure=False)
        try:
            made = make(marker)
        except Failed as failed:
            if not failed.may_have_worked:
                self._record.note(marker, gone=True)
            elif failed.is_over:
                self._record.note(marker, sure=True)
            raise
        except Unfit:  # refused or not even sent
            self._record.note(marker, gone=True)
            raise
        return marker, made

    def _post(self, text: str, media: tuple[str, ...] = ()) -> str:
        """Publish, read back, delete. How the text was damaged, or nothing."""
        text = " " + text
        marker, post = self._making("post", lambda marker: self._api.create(marker + text, marker, media))
        status_id = id_of(post)
        self._record.note(marker, id=status_id, sure=True)
        self._record.belongs_to(id_of(post.get("account")))
        back = self._settled(status_id, there=True)
        if back is None:
            raise Failed("read", "http", "GET /api/v1/statuses/%s answered 404 although the post was accepted" % status_id, status=404)
        if media:
            self._serve(back, media[0])
        problem = difference(marker + text, text_of(str(back.get("content"))))
        self._api.delete(status_id)
        if self._settled(status_id, there=False) is not None:
            raise Failed("delete", "http", "the post is still there after DELETE /api/v1/statuses/%s answered 200" % status_id)
        self._record.note(marker, gone=True)
        return problem

    def _settled(self, status_id: str, *, there: bool) -> dict[str, Any] | None:
        """The post, asked for until it is there or not: a replica of the database may be a moment behind."""
        for turn in range(REREAD):
            if turn:
                time.sleep(REREAD_SECONDS)
            back = self._api.read(status_id)
            if (back is not None) == there:
                break
        return back

    def _post_picture(self) -> str:
        marker, made = self._making("media", lambda marker: self._api.upload(PICTURE_NAME, picture(), marker))
        media_id, ready = made
        self._record.note(marker, id=media_id, sure=True)
        until = time.monotonic() + PROCESS_SECONDS
        while not ready:
            if time.monotonic() > until:
                raise Failed("process", "timeout", "the picture was accepted and not processed within %.0f s" % PROCESS_SECONDS)
            time.sleep(REREAD_SECONDS)
            ready = self._api.is_processed(media_id)
        return self._post(PLAIN, (media_id,))

    def _serve(self, post: dict[str, Any], media_id: str) -> None:
        """The picture hangs on the post, and visitors get it; from a storage elsewhere it is not fetched."""
        attached = post.get("media_attachments")
        one = next((each for each in attached if id_of(each) == media_id), None) if isinstance(attached, list) else None
        if one is None:
            raise Failed("read", "protocol", "the post came back without its picture")
        parts = urlsplit(str(one.get("url") or ""))
        if parts.scheme == "https" and parts.netloc.lower() == self._api.client.server.url[8:]:
            self._api.fetch(parts.path)
