# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of Mastodon's API that a probe needs (private, may change any time)."""

from __future__ import annotations

import json
import re
import time

from typing import TYPE_CHECKING, Any

from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Answer, NoAnswer, Unfit
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.material import form, text_of
from ansible_collections.fediops.mastodon.plugins.module_utils._probe.record import MARKER

if TYPE_CHECKING:
    from ansible_collections.fediops.mastodon.plugins.module_utils._probe.client import Client

SCOPES = "read:statuses, write:statuses and write:media"
PAGE = 40
MOST_PAGES = 5
_ID = re.compile(r"[0-9A-Za-z]{1,40}\Z")  # numbers of Mastodon; some forks have letters


class Failed(Exception):
    """A step that went wrong: what the facts say of it, and whether something may have been made on the server all the same."""

    def __init__(self, step: str, kind: str, message: str, request_id: str = "", status: int = 0, reached: bool = False,
                 sent: bool = True) -> None:
        super().__init__(message)
        self.step = step
        self.may_have_worked = sent and not 300 <= status < 500
        # The application answered, so it is done; a proxy may have given up on one that goes on.
        self.is_over = reached
        self.told: dict[str, Any] = {"step": step, "error": {"kind": kind, "message": message}}
        if status:
            self.told["status"] = status
        if request_id:
            self.told.update(request_id=request_id, reached_application=reached)


class Api:
    def __init__(self, client: Client) -> None:
        self.client = client

    def version(self) -> str:
        """Version the server says it is. Unfit when this is no Mastodon, Failed when it does not answer."""
        for token in (False, True):  # a server of a closed federation tells only its members
            try:
                answer = self.client.ask("GET", "/api/v1/instance", token=token)
            except NoAnswer as problem:
                if problem.kind in ("dns", "tls"):
                    # Wrong for everybody, or for this machine alone: that cannot be told from here.
                    raise Unfit("%s: %s" % (self.client.server.url, problem)) from None
                raise _unanswered("reach", problem) from None
            value = answer.json()
            if answer.status == 200 and isinstance(value, dict) and isinstance(value.get("version"), str):
                return self.client.clean(value["version"])[:40]
            if token or answer.status not in (401, 403) or not isinstance(value, dict):
                break
        if answer.status >= 500:
            raise self._refused("reach", "GET", "/api/v1/instance", answer, "")
        self._stop_at_redirect(answer)
        raise Unfit("%s/api/v1/instance answered %d with %s and not as Mastodon does: is the url right?"
                    % (self.client.server.url, answer.status, self.client.clean(answer.content_type) or "no type"))

    def account(self) -> str:
        """Id of the token's account; empty when the token may not ask for it. Unfit when the token is refused."""
        answer = self._ask("account", "GET", "/api/v1/accounts/verify_credentials", accept=(200, 403))
        value = answer.json()
        return id_of(value) if answer.status == 200 else ""

    def create(self, text: str, key: str, media: tuple[str, ...] = ()) -> dict[str, Any]:
        """Publish a post that nobody but its author sees; the same key makes no second one for an hour."""
        body = json.dumps({"status": text, "visibility": "direct", "language": "en", "media_ids": list(media)}).encode()
        answer = self._ask("create", "POST", "/api/v1/statuses", body, {"Content-Type": "application/json", "Idempotency-Key": key},
                           scope="write:statuses")
        return self._made("create", answer)

    def read(self, status_id: str) -> dict[str, Any] | None:
        """The post; None when there is none."""
        answer = self._ask("read", "GET", "/api/v1/statuses/" + status_id, accept=(200, 404), scope="read:statuses")
        return self._made("read", answer) if answer.status == 200 else None

    def delete(self, status_id: str) -> None:
        """Delete a post with its media (from 4.4 on; before, media stay behind without a post). None there is right too."""
        self._ask("delete", "DELETE", "/api/v1/statuses/%s?delete_media=true" % status_id, accept=(200, 404), scope="write:statuses")

    def upload(self, name: str, data: bytes, marker: str) -> tuple[str, bool]:
        """(id, whether it is processed already)."""
        body, content_type = form(name, data, marker)
        answer = self._ask("upload", "POST", "/api/v2/media", body, {"Content-Type": content_type}, accept=(200, 202), scope="write:media")
        return id_of(self._made("upload", answer)), answer.status == 200

    def is_processed(self, media_id: str) -> bool:
        answer = self._ask("process", "GET", "/api/v1/media/" + media_id, accept=(200, 206), scope="write:media")
        return answer.status == 200

    def delete_media(self, media_id: str) -> bool:
        """Delete an upload (4.4 and later); False while a post has it still."""
        answer = self._ask("delete", "DELETE", "/api/v1/media/" + media_id, accept=(200, 404, 422), scope="write:media")
        return answer.status != 422

    def fetch(self, path: str) -> None:
        """Fetch a stored file as any visitor does."""
        answer = self._ask("serve", "GET", path, token=False)
        if not answer.content_type.startswith("image/") or not answer.body:
            raise Failed("serve", "protocol", "%s holds no picture but %s" % (path[:100], self.client.clean(answer.content_type)),
                         answer.request_id, answer.status, answer.reached)

    def mine(self, account: str, since_epoch: float) -> dict[str, str]:
        """Posts of probes since then among the account's own: id -> marker."""
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))
        found: dict[str, str] = {}
        before = ""
        for _page in range(MOST_PAGES):
            answer = self._ask("look", "GET", "/api/v1/accounts/%s/statuses?exclude_reblogs=true&limit=%d%s" % (account, PAGE, before),
                               scope="read:statuses")
            value = answer.json()
            if not isinstance(value, list):
                raise Failed("look", "protocol", "the list of own posts could not be read", answer.request_id, answer.status,
                             answer.reached)
            posts = [post for post in value if id_of(post)]
            for post in posts:
                match = MARKER.match(text_of(str(post.get("content"))))
                if match and post.get("visibility") == "direct":
                    found[id_of(post)] = match.group(0)
            if not posts or str(posts[-1].get("created_at")) < since:
                break
            before = "&max_id=" + id_of(posts[-1])
        return found

    # -- one request ------------------------------------------------------------------------------------------

    def _ask(self, step: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None,
             accept: tuple[int, ...] = (200,), scope: str = "", token: bool = True) -> Answer:
        try:
            answer = self.client.ask(method, path, body, headers, token)
        except NoAnswer as problem:
            raise _unanswered(step, problem) from None
        if answer.status in accept:
            return answer
        raise self._refused(step, method, path, answer, scope)

    def _refused(self, step: str, method: str, path: str, answer: Answer, scope: str) -> Exception:
        value = answer.json()
        said = self.client.clean(value["error"]) if isinstance(value, dict) and isinstance(value.get("error"), str) else ""
        what = "%s %s answered %d%s" % (method, path.partition("?")[0], answer.status, ": " + said if said else "")
        self._stop_at_redirect(answer)
        if step != "serve":
            if answer.status == 401:
                return Unfit("%s; the token is not valid here, make one with the scopes %s" % (what, SCOPES))
            if answer.status == 403:
                return Unfit("%s; the token needs the scope%s, and its account must be allowed to post"
                             % (what, " " + scope if scope else "s " + SCOPES))
            if answer.status == 429:
                return Unfit("%s; try again later" % what)
        return Failed(step, "http", what, answer.request_id, answer.status, answer.reached)

    def _stop_at_redirect(self, answer: Answer) -> None:
        if 300 <= answer.status < 400:
            target = self.client.clean(answer.location) or "nowhere"
            raise Unfit("%s answered %d and points to %s; redirects are not followed, the token is for one server alone: give its address "
                        "as url (mastodon_probe_url)" % (self.client.server.url, answer.status, target))

    def _made(self, step: str, answer: Answer) -> dict[str, Any]:
        value = answer.json()
        if isinstance(value, dict) and id_of(value):
            return value
        raise Failed(step, "protocol", "the answer (%d, %s) is not that of Mastodon's API"
                     % (answer.status, self.client.clean(answer.content_type)), answer.request_id, answer.status, answer.reached)


def _unanswered(step: str, problem: NoAnswer) -> Failed:
    return Failed(step, problem.kind, str(problem), problem.request_id, sent=problem.sent)


def id_of(value: Any) -> str:
    """Id of something the API answered; empty when there is none that may stand in a path."""
    told = value.get("id") if isinstance(value, dict) else None
    return told if isinstance(told, str) and _ID.match(told) else ""
