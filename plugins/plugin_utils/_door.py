# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the controller reaches a host to change it: calls that are followed, and repeated when the connection was lost. Private."""

from __future__ import annotations

import getpass
import os
import pathlib
import socket
import time
import typing as t

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _assets_archive
from ansible_collections.fediops.mastodon.plugins.plugin_utils._remediation import Facts, Result, Step, Trouble
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

FIX = "fediops.mastodon.mastodon_fix"
FACTS = "fediops.mastodon.mastodon_facts"
FOLLOW_SECONDS = 10.0  # one call follows the work for so long
BUSY_SECONDS = 90.0
BUSY_POLL_SECONDS = 5.0
LOST_SECONDS = 120.0
LOST_PAUSE_SECONDS = 3.0
MOST_LINES = 20


class Lost(Exception):
    """The connection is gone; what the host does it goes on doing."""


class HostDoor:
    """The door of `_remediation.Remediation`, through the connection of an action plugin."""

    def __init__(self, action: ActionBase, variables: dict[str, t.Any], options: t.Mapping[str, t.Any]) -> None:
        self._action, self._variables, self._options = action, variables, options
        self._host = clean_line(variables["inventory_hostname"], 80)
        self.changed = False
        self.diff: list[t.Any] = []
        self._waits_for = ""
        self._shown: dict[str, int] = {}  # lines of a run that were shown

    def say(self, text: str) -> None:
        Display().display(f"{self._host}: {clean_line(text)}")

    # -- a run -----------------------------------------------------------------------------------------------------

    def begin(self, steps: list[Step]) -> Result:
        """Begins a run of our own id, so that it can be found again when the very first answer is lost."""
        run_id = f"{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}-{os.urandom(4).hex()}"
        asked = _asked(steps)
        for step in asked:
            if step["fix"] == "copy_assets":
                self.say("sending the assets")
                step["options"] = {**step["options"], **self._assets()}
        return self._until_done("applied", run_id, steps=asked)

    def settle(self, run_id: str, reasons: dict[int, str]) -> Result:
        return self._until_done("settled", run_id, verdicts={str(number): reason for number, reason in reasons.items()})

    def roll_back(self, run_id: str) -> Result:
        """The run as it is afterwards; the newest one when the id is empty."""
        return self._until_done("rolled_back", run_id)

    def look(self, run_id: str) -> Result:
        """The run that `roll_back` would take back, as it is; Trouble when it would not."""
        task = self._action._task
        check_mode = task.check_mode
        task.check_mode = True
        try:
            return t.cast("Result", self._call(state="rolled_back", run=run_id)["run"])
        except Lost as lost:
            raise Trouble(f"the connection was lost: {lost}") from None
        finally:
            task.check_mode = check_mode

    def rehearse(self, steps: list[Step]) -> Result:
        try:
            result = self._call(state="applied", steps=_asked(steps))
        except Lost as lost:
            raise Trouble(f"the connection was lost: {lost}") from None
        self._keep_diff(result)
        self.changed = bool(result.get("changed"))
        return t.cast("Result", result["run"])

    def observe(self, log_since: str) -> Facts:
        """The facts, by the action of that name: it knows what to look for and what to do on a host without any room."""
        task = self._action._task.copy()
        task.args = {"known_issues_dirs": self._options["known_issues_dirs"], "log_since": log_since}
        task.args["gather_timeout"] = self._options["gather_timeout"]
        if self._options["root"]:
            task.args["root"] = self._options["root"]
        action = self._action._shared_loader_obj.action_loader.get(
            FACTS,
            task=task,
            connection=self._action._connection,
            play_context=self._action._play_context,
            loader=self._action._loader,
            templar=self._action._templar,
            shared_loader_obj=self._action._shared_loader_obj,
        )
        end, told = time.monotonic() + LOST_SECONDS, ""
        while True:
            try:
                result = action.run(task_vars=self._variables)
            except AnsibleConnectionFailure as failure:
                told = clean_line(failure)
            else:
                facts = (result.get("ansible_facts") or {}).get("mastodon")
                if isinstance(facts, dict):
                    return facts
                told = clean_line(result.get("msg") or "no reason was given")
            if time.monotonic() > end:
                raise Trouble(f"the host could not be looked at after the acts ({told}); the next remediation finishes or undoes this run")
            time.sleep(LOST_PAUSE_SECONDS)

    def _assets(self) -> Result:
        """Options of copy_assets: the archive that the build host packed, brought here."""
        try:
            archive = pathlib.Path(self._options["assets_archive"] or "")
            return _assets_archive.options_for(self._action, archive, self._variables, self._options["root"])
        except (_assets_archive.ArchiveError, AnsibleError) as problem:
            raise Trouble(clean_line(problem, 500)) from None

    # -- calls -----------------------------------------------------------------------------------------------------

    def _until_done(self, state: str, run_id: str, **arguments: t.Any) -> Result:
        """Call until the host is done with it, however long that takes, and show where it is."""
        lost_since: float | None = None
        busy_until = time.monotonic() + BUSY_SECONDS
        asked = state
        while True:
            try:
                result = self._call(state=asked, run=run_id, **(arguments if asked == state else {}))
            except Lost as lost:
                lost_since = lost_since or time.monotonic()
                if time.monotonic() - lost_since > LOST_SECONDS:
                    raise Trouble(_gone_on(run_id, str(lost))) from None
                self.say("the connection was lost, trying again; the work goes on there")
                time.sleep(LOST_PAUSE_SECONDS)
                asked = "followed" if run_id else state
                continue
            except Trouble as trouble:
                if lost_since is None or asked == state or "there is no run" not in str(trouble):
                    raise
                asked, lost_since = state, None  # the lost call never arrived
                continue
            if lost_since is not None and asked == "followed" and not result["working"] and result["run"]["state"] not in _END[state]:
                asked, lost_since = state, None  # likewise
                continue
            lost_since = None
            if result.get("busy"):
                self._wait(result, busy_until)
                continue
            run = result["run"]
            run_id, asked = run["id"], "followed"
            self._show(run, known=state == "applied")
            if not result["working"]:
                self.changed = self.changed or bool(result.get("changed"))
                if state == "applied":
                    self._keep_diff(result)
                return t.cast("Result", run)

    def _wait(self, result: Result, until: float) -> None:
        # Without a time of its own a worker is at work: perhaps that of a controller which was killed, and whose run this one is to finish.
        pause = result.get("retry_after_seconds", BUSY_POLL_SECONDS)
        told = clean_line(result["busy"])
        if time.monotonic() + min(float(pause), 1.0) > until:
            raise Trouble(told)
        left = max(0.0, until - time.monotonic())
        if told != self._waits_for:
            self._waits_for = told
            self.say(f"waits up to {min(float(pause), left):.0f} s: {told}")
        # Asked again before that: when only Ansible's main process was killed, its worker lives on and finishes the run.
        time.sleep(min(float(pause) + 0.5, BUSY_POLL_SECONDS, left))

    def _show(self, run: Result, *, known: bool) -> None:
        """The lines of progress that were not shown yet; of a run that is not `known` from its beginning, the older ones are not told."""
        said = int(run.get("said") or 0)
        shown = self._shown.setdefault(run["id"], 0 if known else said)
        lines = run.get("progress") or []
        for line in lines[-(said - shown) :][-MOST_LINES:] if said > shown else []:
            self.say(str(line.get("text")))
        self._shown[run["id"]] = max(said, shown)

    def _call(self, **arguments: t.Any) -> Result:
        """One call; Trouble holds the module's own sentence, Lost means that nobody answered."""
        given = {**arguments, "wait_seconds": FOLLOW_SECONDS, "controller": _controller()}
        if self._options.get("root"):
            given["root"] = self._options["root"]
        try:
            result = t.cast("Result", self._action._execute_module(module_name=FIX, module_args=given, task_vars=self._variables))
        except AnsibleConnectionFailure as failure:
            raise Lost(clean_line(failure)) from None
        except AnsibleError as error:
            raise Trouble(clean_line(error, 1000)) from None
        if "working" in result:
            return result
        if result.get("unreachable") or "module_stdout" in result or "module_stderr" in result:
            told = [line for line in str(result.get("module_stderr") or result.get("module_stdout") or "").splitlines() if line.strip()]
            raise Lost(clean_line(told[-1] if told else result.get("msg") or "no answer"))
        raise Trouble(clean_line(result.get("msg") or "the host gave no reason", 1000))

    def _keep_diff(self, result: Result) -> None:
        diff = result.get("diff")
        self.diff += [_with_line_ends(change) for change in diff] if isinstance(diff, list) else []


_END = {"applied": ("acted", "settled"), "settled": ("settled",), "rolled_back": ("rolled_back",)}


def _with_line_ends(change: t.Any) -> t.Any:
    """A value that is a word and no file, such as the state of a unit: Ansible would tell of each that it lacks a newline."""
    if not isinstance(change, dict):
        return change
    words = {key: f"{change[key]}\n" for key in ("before", "after") if change.get(key) and "\n" not in str(change[key])}
    return {**change, **words}


def _asked(steps: list[Step]) -> list[Step]:
    return [{key: step[key] for key in ("fix", "issues", "covers", "impact", "options")} for step in steps]


def _gone_on(run_id: str, told: str) -> str:
    return (
        f"the connection was lost for {LOST_SECONDS:.0f} s ({told}); the run {run_id} goes on there: its end is in "
        f"/var/lib/fediops.mastodon/runs/{run_id}/run.json, and the next remediation finishes or undoes it"
    )


def _controller() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"[:80]
