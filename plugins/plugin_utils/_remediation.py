# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remediation of one host: plan, act, observe, keep or undo, at most three rounds. Private to this collection.

docs/remediation.md is the contract. How the host is reached is the business of the door (`plugins/action/mastodon_remediate.py`).
"""

from __future__ import annotations

import dataclasses
import time
import typing as t

from ansible_collections.fediops.mastodon.plugins.module_utils._fixes import FIXES
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _diagnosis, _verdict
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import branch, entries
from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import groups
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import judge
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import KnownIssue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._plan import Done, Plan, Policy, plan
from ansible_collections.fediops.mastodon.plugins.plugin_utils._run_folder import Board
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._waivers import Waiver

MOST_ROUNDS = 3
SETTLE_SECONDS = 3.0  # a service that dies right after its start is seen to be dead
PATIENCE_SECONDS = 30.0  # for a finding to go
GRACE_SECONDS = 60.0  # for a finding that is held back because a service was just started
LOOK_AGAIN_SECONDS = 4.0
ACTED = ("kept", "undone", "failed")
STAYS = ("kept", "failed")  # where a step with only_by_rollback is in effect, also when it did not cure
_MOST_VALUES = 80  # characters of what was before and is after, in a line of the report

Facts = dict[str, t.Any]
Result = dict[str, t.Any]
Step = dict[str, t.Any]


class Trouble(Exception):
    """One sentence: why the remediation of this host cannot go on."""


class Door(t.Protocol):
    """A host as remediation needs it. Everything raises Trouble."""

    def begin(self, steps: list[Step]) -> Result:
        """Apply the steps: run.json when the host is done with them."""

    def rehearse(self, steps: list[Step]) -> Result:
        """What the steps would do."""

    def settle(self, run_id: str, reasons: dict[int, str]) -> Result:
        """Keep or undo: run.json when the host is done with it."""

    def observe(self, log_since: str) -> Facts:
        """Facts of the host, with its logs since then."""

    def say(self, text: str) -> None:
        """Progress, one line for people."""


@dataclasses.dataclass
class Remediation:
    host: str
    door: Door
    facts: dict[str, Facts]  # of all hosts of the play that have some
    catalogue: t.Mapping[str, KnownIssue]
    waivers: t.Sequence[Waiver]
    policy: Policy
    board: Board
    log_since: str
    check_mode: bool
    built: bool = False  # this host has built the assets for the others after its facts were read

    def __post_init__(self) -> None:
        group_of = groups(self.facts)
        self.group = group_of[self.host]
        self.facts = {host: facts for host, facts in self.facts.items() if group_of[host] == self.group}
        self.tried: set[tuple[str, str]] = set()
        self.told: Result = {"rounds": 0, "runs": [], "steps": []}
        self.observed = False

    # -- the whole -------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """The remediation of this host, also when it broke off; `failed` holds the reasons."""
        planned = self._plan()
        if not self._is_due(planned):
            return self._finished(planned)
        if self.check_mode:
            self._rehearse(planned)
            return self._finished(planned)
        with self.board.lock(self.group, lambda: self.door.say("waits: another host of this instance is being worked on")):
            stopped = [told["why"] for told in self.board.read("stopped").values() if told["group"] in (None, self.group)]
            if stopped:
                self.told["not_touched"] = stopped[0]
                return self._finished(planned)
            try:
                self._rounds(planned)
            except Trouble as trouble:
                self.told["error"] = str(trouble)
            finally:
                self._tell_the_others()
        return self._finished(self._plan())

    def _rounds(self, planned: Plan) -> None:
        self.before = self._diagnosed()
        if self._is_left_open():
            self._finish_what_was_left()
            planned = self._plan()
        elif self._refresh():
            planned = self._plan()
        elif self.built:
            self._observe(self.log_since)  # not to build them again
            planned = self._plan()
        self.before = self._diagnosed()
        while self._is_due(planned) and self.told["rounds"] < MOST_ROUNDS and not self.told.get("worse"):
            self.told["rounds"] += 1
            self._round([step for step in self._steps(planned) if step["allowed"]])
            planned = self._plan()

    def _round(self, due: list[Step]) -> None:
        before = self._diagnosed()
        self.tried |= {(issue, step["fix"]) for step in due for issue in step["issues"]}
        for step in due:
            self.door.say(f"{step['fix']} for {', '.join(step['issues'])}")
        run = self.door.begin(due)
        after, reasons = before, {}
        if any(step["state"] == "applied" for step in run["steps"]):
            after = self._watch(run["steps"])
            reasons = _verdict.verdicts(run["steps"], self.before, after)
            self.told["worse"] = _verdict.got_worse(self.before, after)
        for number, reason in reasons.items():
            self.door.say(f"undoing step {number}: {reason}")
        if run["state"] == "acted":  # a run that changed nothing is settled by the host itself
            run = self.door.settle(run["id"], reasons)
        self._note(run, due, before, after)
        self._observe(self.log_since)

    def _finish_what_was_left(self) -> None:
        """Of runs whose worker or controller died: what was torn the host has undone, what is complete is judged as if it were new."""
        run = self.door.begin([])
        self._note(run, [], self.before, self.before)
        for left in run.get("unjudged", ()):
            after = self._watch(left["steps"])
            reasons = _verdict.verdicts(left["steps"], after, after)  # how the host was before that run nobody knows any more
            judged = {step["number"] for step in left["steps"] if step["state"] == "applied"}  # what was torn is no failure of today
            settled = self.door.settle(left["id"], reasons)
            self._note({**settled, "steps": [step for step in settled["steps"] if step["number"] in judged]}, [], self.before, after)
        self._observe(self.log_since)

    def waits_for(self) -> dict[str, list[str]]:
        """What is found here and caused on other hosts: when one of them was worked on, this one is to be looked at again."""
        found = {finding["id"]: finding["explained_by"] or "" for finding in self._diagnosed()["findings"]}
        hosts, issues = set(), []
        for issue in found:
            cause = found[issue]
            while cause in found:
                cause = found[cause]
            if cause.rpartition("/")[0] in self.facts:
                hosts.add(cause.rpartition("/")[0])
                issues.append(issue)
        return {"hosts": sorted(hosts), "issues": issues}

    # -- parts -----------------------------------------------------------------------------------------------------

    def _plan(self) -> Plan:
        done = {
            (fix, self.group): Done(told["host"], tuple(told["issues"]), told["worked"])
            for fix in FIXES
            for told in self.board.read(f"done-{fix}").values()
            if told["group"] == self.group
        }
        diagnosis = self._diagnosis()
        return plan(diagnosis, self.facts, self.policy, hosts=[self.host], done=done, tried=self.tried)

    def _steps(self, planned: Plan) -> list[Step]:
        return t.cast("list[Step]", planned["hosts"][self.host]["steps"])

    def _is_due(self, planned: Plan) -> bool:
        """Something may be done, or a run that somebody left open is to be finished or undone."""
        return any(step["allowed"] for step in self._steps(planned)) or (self._is_left_open() and not self.told["runs"])

    def _is_left_open(self) -> bool:
        return "open" in branch(self.facts[self.host], "remediation") and not self.facts[self.host].get("recorded")

    def _diagnosis(self) -> _diagnosis.Diagnosis:
        return _diagnosis.diagnose(self.facts, self.catalogue, waivers=self.waivers, now=time.time(), run={})

    def _diagnosed(self) -> Result:
        return t.cast("Result", self._diagnosis()["hosts"][self.host])

    def _observe(self, log_since: str) -> None:
        instance = branch(self.facts[self.host], "host").get("instance")  # told by a variable, which the host does not know
        observed = self.door.observe(log_since)
        self.facts[self.host] = {**observed, "host": {**branch(observed, "host"), "instance": instance}} if instance else observed
        self.observed = True

    def _refresh(self) -> bool:
        """What other hosts of the instance became since these facts were read; then this one is looked at again too."""
        others = {host: facts for host, facts in self.board.read("facts").items() if host in self.facts and host != self.host}
        self.facts.update(others)
        if others:
            self._observe(self.log_since)
        return bool(others)

    def _watch(self, steps: list[Step]) -> Result:
        """The diagnosis after the acts, of log lines since then; looked at again as long as that may change the verdict."""
        start = time.monotonic()
        judged = [step for step in steps if step["state"] == "applied" and not step.get("not_in_effect")]
        issues = sorted({issue for step in judged for issue in _verdict.must_be_gone(step)})
        time.sleep(SETTLE_SECONDS)
        while True:
            passed = time.monotonic() - start
            self._observe(f"{max(1, int(passed))}s")
            after = self._diagnosed()
            there = {*_verdict.findings(after), *(entry["id"] for entry in after["unknown"])}
            # One look may err on a server that is busy with starting: what would speak against the host must still be so in the end.
            still = [*(issue for issue in issues if issue in there), *_verdict.got_worse(self.before, after)]
            held = [issue for issue in issues if judge(self.catalogue[issue], self.facts[self.host]).excused]
            if not (still and passed < PATIENCE_SECONDS) and not (held and passed < GRACE_SECONDS):
                return after
            self.door.say(f"looking again: {', '.join(still or held)}")
            time.sleep(LOOK_AGAIN_SECONDS)

    def _rehearse(self, planned: Plan) -> None:
        left = branch(self.facts[self.host], "remediation", "open")
        if left:
            self.told["left_open"] = clean_line(left.get("id"), 60)
        due = [step for step in self._steps(planned) if step["allowed"]]
        copied = [step for step in due if step["fix"] == "copy_assets"]  # the build host builds nothing in check mode
        for step in copied:
            change = {"what": f"assets of {step['options']['build_host']} take the place of those here"}
            self.told["steps"].append(told_of({**step, "changes": [change]}, "planned", [], []))
        due = [step for step in due if step not in copied]
        if not due:
            return
        try:
            run = self.door.rehearse(due)
        except Trouble as trouble:
            self.told["error"] = str(trouble)
            return
        here = self._diagnosed()
        for step in run["steps"]:
            state = "planned" if step["state"] == "applied" else step["state"]
            self.told["steps"].append({**told_of(step, state, _verdict.evidence(step["issues"], here), []), **_follows(step, due)})

    def _note(self, run: Result, due: list[Step], before: Result, after: Result) -> None:
        self.told["runs"].append(run["id"])
        self.told["run"] = run["id"]
        if run.get("recovered"):
            self.told["recovered"] = [clean_line(name, 60) for name in run["recovered"]]
        for step in run["steps"]:
            told = told_of(step, step["state"], _verdict.evidence(step["issues"], before), _verdict.evidence(step["issues"], after))
            self.told["steps"].append({**told, **_follows(step, due), "run": run["id"]})
            if FIXES[step["fix"]].once_a_database and step["state"] in ACTED:
                mine = {"host": self.host, "group": self.group, "issues": step["issues"], "worked": step["state"] == "kept"}
                self.board.leave(f"done-{step['fix']}", self.group, mine)
        problems = [clean_line(problem) for problem in entries(run.get("problems"))]
        if problems:
            self.told["problems"] = [*self.told.get("problems", []), *problems][:20]

    def _tell_the_others(self) -> None:
        if self.told["runs"]:
            self.board.leave("facts", self.host, self.facts[self.host])
        bad = ("failed", "undone")
        broken = [step for step in self.told["steps"] if step["state"] in bad and "could not be taken back" in step.get("reason", "")]
        if self.told.get("worse"):
            self._stop(f"{self.host} got worse")
        elif broken:
            self._stop(f"{broken[0]['fix']} could not be taken back on {self.host}")
        elif self.told.get("error"):
            # It may be down, or in the hands of another controller: the others of its instance must stay up.
            self._stop(f"the remediation of {self.host}, of the same instance, broke off", self.group)

    def _stop(self, why: str, group: str | None = None) -> None:
        self.board.leave("stopped", self.host, {"why": why, "group": group})

    def _finished(self, planned: Plan) -> Result:
        for step in self._steps(planned):
            if not step["allowed"] or self.told.get("not_touched"):
                here = self._diagnosed()
                told = told_of(step, "not_allowed" if not step["allowed"] else "not_touched", _verdict.evidence(step["issues"], here))
                told.update({key: step[key] for key in ("why_not", "allow_with", "escalated") if key in step})
                self.told["steps"].append(told)
        reasons = []
        if self.told.get("error"):
            reasons.append(self.told["error"])
        if self.told.get("worse"):
            reasons.append(f"the host got worse: {', '.join(self.told['worse'])}")
        if not self.check_mode:
            for step in self.told["steps"]:
                if step["state"] in ("undone", "failed"):
                    reasons.append(f"{step['fix']} {'was undone' if step['state'] == 'undone' else 'failed'}: {step['reason']}")
                if step.get("escalated"):
                    reasons.append(f"{step['fix']} was not done again: {step['why_not']['en']}")
        self.told["failed"] = [clean_line(reason, 600) for reason in reasons]
        if self.check_mode:
            self.told["check_mode"] = True
        return self.told


def told_of(step: Step, state: str, before: t.Sequence[str] = (), after: t.Sequence[str] = ()) -> Step:
    """A step of run.json as the report tells it: what came from the host is cleaned and bounded."""
    told: Step = {
        "fix": step["fix"],
        "issues": list(step["issues"]),
        "impact": step["impact"],
        "state": state,
        "reason": clean_line(step.get("reason") or "", 1000),
        "changes": [change_line(change) for change in entries(step.get("changes"))[:200]],
        "before": list(before),
        "after": list(after),
    }
    if not step.get("undoable", True):
        told["cannot_undo"] = clean_line(step.get("kept_because") or "its effect cannot be taken back")
    if step.get("only_by_rollback") and state in STAYS:
        told["only_by_rollback"] = True
        if step.get("kept_database"):
            told["kept_database"] = clean_line(step["kept_database"], 80)
    if not _verdict.must_be_gone(step):
        told["judged"] = False
    if told["changes"] and all(_is_of_services(change) for change in step["changes"]):
        told["services_only"] = True
    return told


def change_line(change: t.Mapping[str, t.Any]) -> str:
    """A change as the report names it: with its values where they are a word or two, such as "unit x: disabled -> enabled"."""
    what, before, after = (str(change.get(key) or "") for key in ("what", "before", "after"))
    short = after and after != what and "\n" not in before + after and len(before + after) <= _MOST_VALUES
    values = f": {before} -> {after}" if before else f": {after}"
    return clean_line(what + values if short else what, 300)


def _is_of_services(change: t.Mapping[str, t.Any]) -> bool:
    """Whether it leaves nothing behind that could be taken back: a start, a restart, a reload."""
    return str(change["what"]).startswith("unit ") and change.get("after") in ("start", "restart", "reload")


def _follows(step: Step, due: list[Step]) -> Step:
    """The host after whose work on the shared database this step is due."""
    return next(({"follows": planned["after"]} for planned in due if planned["fix"] == step["fix"] and "after" in planned), {})
