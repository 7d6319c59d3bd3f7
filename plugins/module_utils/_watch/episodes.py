# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One alert when something begins, one all-clear when it is over (pure; private, may change any time).

An episode is all that belongs together: what the catalogue says that one known issue explains joins the episode of its cause without a
word. An episode ends when everything in it has been clear for some passes in a row; an issue that comes back again and again needs longer
each time.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, Set

from ansible_collections.fediops.mastodon.plugins.module_utils._watch.conditions import CLEAR, FIRING, QUIET, Condition

SEVERITIES = ("critical", "error", "warning")
QUIET_SECONDS = 3600.0  # nobody tried for so long: nothing is left to wait for
JOIN_SECONDS = 3600.0  # a cause that explains a symptom only sometimes is believed to when both begin together
RAISE_PASSES = {"watch_blind": 3, "watch_failed": 2}
DAY_SECONDS = 86400.0
MOST_PATIENCE = 6
COUNTED = ("server_errors", "failed_posts")  # told by what people do, not by looking
# {issue: {what it explains: whether always}}
Explains = Mapping[str, Mapping[str, bool]]


def open_keys(state: Mapping[str, Any]) -> FrozenSet[str]:
    """Keys of the conditions in open episodes that have not become clear for good."""
    return frozenset(key for episode in state.get("episodes", ()) for key in episode["members"])


def step(state: Dict[str, Any], conditions: List[Condition], now: float, explains: Explains, clear_passes: int) -> List[Dict[str, Any]]:
    """Take one pass into account: `state` is changed, what is to be told is returned."""
    episodes: List[Dict[str, Any]] = state.setdefault("episodes", [])
    for condition in conditions:
        _update_member(episodes, condition, now)
    notices = _ended(state, now, clear_passes)
    waiting: Dict[str, int] = state.setdefault("waiting", {})
    known = open_keys(state)
    fresh = []
    for condition in conditions:
        if condition.state == FIRING and condition.key not in known:
            waiting[condition.key] = waiting.get(condition.key, 0) + 1
            if waiting[condition.key] >= RAISE_PASSES.get(condition.key, 1):
                fresh.append(condition)
        elif condition.state in (CLEAR, QUIET):
            waiting.pop(condition.key, None)
    # Causes first, so that their symptoms find them.
    issues = {each.key: each.issue for each in fresh}
    explained = {
        key: sum(_reaches(explains, cause, issue, True) for other, cause in issues.items() if other != key) for key, issue in issues.items()
    }
    fresh.sort(key=lambda each: (explained[each.key], SEVERITIES.index(each.severity)))
    for condition in fresh:
        waiting.pop(condition.key, None)
        notice = _enter(state, condition, now, explains)
        if notice:
            notices.append(notice)
    for notice in notices:
        if notice["event"] == "alert":
            _tell_all(notice, state, conditions)
    return notices


def _tell_all(notice: Dict[str, Any], state: Mapping[str, Any], conditions: List[Condition]) -> None:
    """The alert of a cause also names the symptoms of this pass, with the requests they are known by."""
    members = next(episode["members"] for episode in state["episodes"] if episode["id"] == notice["id"])
    others = [each for each in conditions if each.key in members and each.state == FIRING]
    notice["text"] += [each.text for each in others if each.text not in notice["text"]]
    notice["request_ids"] = list(dict.fromkeys([*notice["request_ids"], *(name for each in others for name in each.request_ids)]))


def _update_member(episodes: List[Dict[str, Any]], condition: Condition, now: float) -> None:
    for episode in episodes:
        member = episode["members"].get(condition.key)
        if member is None:
            continue
        if condition.state == FIRING:
            member.update(clear=0, text=condition.text, issue=condition.issue)
            member.pop("quiet_epoch", None)
        elif condition.state == CLEAR:
            member["clear"] += 1
            member.pop("quiet_epoch", None)
        elif condition.state == QUIET and now - member.setdefault("quiet_epoch", now) >= QUIET_SECONDS:
            member["clear"] += 1


def _ended(state: Dict[str, Any], now: float, clear_passes: int) -> List[Dict[str, Any]]:
    notices, going_on = [], []
    for episode in state["episodes"]:
        recent = [when for when in state.get("openings", {}).get(episode["issue"], ()) if now - when < DAY_SECONDS]
        needed = clear_passes * max(1, min(MOST_PATIENCE, len(recent)))
        if _episode_over(episode, needed):
            notices.append(
                {
                    "event": "clear",
                    "id": episode["id"],
                    "also": episode["also"],
                    "issue": episode["issue"],
                    "severity": episode["severity"],
                    "time_epoch": now,
                    "opened_epoch": episode["opened_epoch"],
                    "text": [],
                    "request_ids": [],
                }
            )
        else:
            going_on.append(episode)
    state["episodes"] = going_on
    return notices


def _episode_over(episode: Mapping[str, Any], needed: int) -> bool:
    members = episode["members"]
    live = [member for key, member in members.items() if key not in COUNTED]
    # With a cause that is seen to be gone, nobody has to post again to prove it. Without one, silence proves nothing for an hour.
    return all(_over(member, needed) or live and "quiet_epoch" in member for member in members.values())


def _over(member: Mapping[str, Any], needed: int) -> bool:
    return bool(member["clear"] >= needed or member["clear"] >= 1 and "quiet_epoch" in member)


def _enter(state: Dict[str, Any], condition: Condition, now: float, explains: Explains) -> Dict[str, Any]:
    """Let a condition join the episode it belongs to (then nothing is told), or begin one."""
    member = {"issue": condition.issue, "severity": condition.severity, "clear": 0, "text": condition.text}
    absorbed = []
    for episode in state["episodes"]:
        issues = {each["issue"] for each in episode["members"].values()}
        early = now - episode["opened_epoch"] < JOIN_SECONDS
        # A forecast explains nothing: a disk that may be full tomorrow must not hide today's outage.
        forecast = set(episode["members"]) == {"disk_forecast"} or condition.key == "disk_forecast"
        if forecast:
            continue
        if any(issue == condition.issue or _reaches(explains, issue, condition.issue, early) for issue in issues):
            episode["members"][condition.key] = member
            return {}
        if all(_reaches(explains, condition.issue, issue, early) for issue in issues):
            if SEVERITIES.index(condition.severity) >= SEVERITIES.index(episode["severity"]):
                episode["members"][condition.key] = member
                return {}
            absorbed.append(episode)  # the worse cause is told, and one all-clear ends both
    opened: Dict[str, Any] = {
        "id": "%d-%s" % (int(now), condition.issue),
        "also": [],
        "issue": condition.issue,
        "severity": condition.severity,
        "opened_epoch": now,
        "members": {condition.key: member},
    }
    for episode in absorbed:
        opened["members"].update(episode["members"])
        opened["also"] += [episode["id"], *episode["also"]]
        state["episodes"].remove(episode)
    state["episodes"].append(opened)
    openings: Dict[str, List[float]] = state.setdefault("openings", {})
    openings[condition.issue] = [when for when in openings.get(condition.issue, []) if now - when < DAY_SECONDS][-20:] + [now]
    return {
        "event": "alert",
        "id": opened["id"],
        "also": opened["also"],
        "issue": condition.issue,
        "severity": condition.severity,
        "time_epoch": now,
        "opened_epoch": now,
        "text": [condition.text],
        "request_ids": list(condition.request_ids),
    }


def _reaches(explains: Explains, cause: str, symptom: str, sometimes: bool) -> bool:
    seen: Set[str] = set()
    waiting = [cause]
    while waiting:
        here = waiting.pop()
        for target, always in explains.get(here, {}).items():
            if (always or sometimes) and target not in seen:
                if target == symptom:
                    return True
                seen.add(target)
                waiting.append(target)
    return False
