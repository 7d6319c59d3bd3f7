# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts and known issues become a diagnosis. Pure: nothing is read, asked or changed here. Private to this collection."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._causes import Cause, Node, causes
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import Scope, Undecided, branch, entries
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import Judgement, alone, evidence, judge, seen
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import SEVERITIES, KnownIssue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._waivers import Waiver, waiver_for

SCHEMA = 1
PROBE_STATES = ("ok", "failed", "timeout", "skipped", "denied")
VERDICTS = ("faults", "incomplete", "unclassified", "advice", "clear")  # worst first
FAULTS = SEVERITIES[:3]
_MOST_UNCLASSIFIED = 20

Facts = dict[str, t.Any]
Diagnosis = dict[str, t.Any]


def diagnose(
    facts_by_host: t.Mapping[str, t.Any],
    catalogue: t.Mapping[str, KnownIssue],
    *,
    waivers: t.Sequence[Waiver] = (),
    unreachable: t.Mapping[str, str] | None = None,
    now: float,
    run: dict[str, t.Any],
) -> Diagnosis:
    """The diagnosis of all hosts; `unreachable` holds the reason for every host that has no facts."""
    missing = dict(unreachable or {})
    facts: dict[str, Facts] = {}
    elsewhere = _served_elsewhere(facts_by_host)
    for host, raw in facts_by_host.items():
        reason = _unusable(raw, elsewhere)
        if reason is None:
            facts[host] = plain(raw)
        else:
            missing.setdefault(host, reason)

    judged = {host: {name: judge(issue, fact) for name, issue in catalogue.items()} for host, fact in facts.items()}
    held: dict[Node, Waiver] = {}
    expired: dict[Node, Waiver] = {}
    found: dict[str, list[str]] = {}
    for host, judgements in judged.items():
        found[host] = []
        for name in (name for name, judgement in judgements.items() if judgement.state == "found"):
            holds, over = waiver_for(waivers, name, host, now)
            if holds:
                held[(host, name)] = holds
                continue  # a waived finding explains nothing: what it causes is somebody's outage and stays in sight
            found[host].append(name)
            if over:
                expired[(host, name)] = over

    links = causes(found, facts, catalogue)
    behind = _waived_causes(found, held, facts, links, catalogue)
    hosts: dict[str, Diagnosis] = {}
    for host in sorted({*facts, *missing}):
        if host in facts:
            findings = [
                _finding((host, name), catalogue[name], facts[host], links, expired.get((host, name)), behind.get((host, name)))
                for name in found[host]
            ]
            hosts[host] = _host(
                facts[host], findings, judged[host], {name: held[(host, name)] for name in catalogue if (host, name) in held}, catalogue
            )
        else:
            hosts[host] = _unseen(missing[host])
    return {
        "schema": SCHEMA,
        "run": run,
        "verdict": min((host["verdict"] for host in hosts.values()), key=VERDICTS.index, default="incomplete"),
        "hosts": hosts,
        "fleet": {"findings": []},
        "known_issues": {name: {"component": issue.component, "severity": issue.severity} for name, issue in catalogue.items()},
    }


def plain(raw: t.Any) -> Facts:
    """Facts as plain JSON types: Ansible's tagged or unsafe strings would make every later step slower and depend on its version."""
    return t.cast("Facts", json.loads(json.dumps(raw, default=str)))


def _served_elsewhere(facts_by_host: t.Mapping[str, t.Any]) -> set[str]:
    """Servers (database, redis) that some Mastodon of this run has not on its own host: only then is a host with nothing else of use."""
    apps = [install for install in (branch(raw, "install") for raw in facts_by_host.values()) if install.get("found")]
    return {role for role in ("database", "redis") for install in apps if role not in entries(install.get("roles"))}


def _unusable(raw: t.Any, elsewhere: set[str]) -> str | None:
    """Why these facts are none, as one sentence, or None."""
    if not isinstance(raw, dict) or "probes" not in raw:
        return "the facts are not those of fediops.mastodon.mastodon_facts"
    if raw.get("schema") != 1:
        return f"the facts have schema {clean_line(raw.get('schema'), 20)}, this version of the collection reads schema 1"
    if alone(raw):
        return None
    install = branch(raw, "install")
    if install.get("found") is False and not elsewhere & {str(role) for role in entries(install.get("roles"))}:
        searched = "; ".join(clean_line(place, 200) for place in entries(install.get("searched"))[:8])
        return clean_line("no Mastodon found on this host" + (f"; looked at {searched}" if searched else ""), 1000)
    if "found" not in install and not _disk_only(raw):
        probe = branch(raw, "probes", "install")
        return clean_line(
            f"could not look for Mastodon: {probe.get('reason') or 'the subset install is ' + str(probe.get('state', 'missing'))}"
        )
    return None


def _disk_only(raw: t.Any) -> bool:
    """Nothing but the filesystems could be read (no room for Python): still enough to name a full disk."""
    return "disk" in raw


def _waived_causes(
    found: t.Mapping[str, list[str]],
    held: t.Mapping[Node, Waiver],
    facts: t.Mapping[str, Facts],
    links: t.Mapping[Node, Cause],
    catalogue: t.Mapping[str, KnownIssue],
) -> dict[Node, tuple[Node, Waiver]]:
    """For findings that only a waived one would explain: that one. Their cause is known, though nobody is told to act upon it."""
    if not held:
        return {}
    everything = {host: [*names, *(name for other, name in held if other == host)] for host, names in found.items()}
    explained = {node: cause.explained_by for node, cause in causes(everything, facts, catalogue).items()}
    return {node: (cause, held[cause]) for node in links if (cause := explained[node]) is not None and cause in held}


def _finding(
    node: Node, issue: KnownIssue, facts: Facts, links: dict[Node, Cause], expired: Waiver | None, behind: tuple[Node, Waiver] | None
) -> dict[str, t.Any]:
    host, name = node
    link = links[node]
    scope = Scope(facts, name)

    def localized(texts: dict[str, str], *, line: bool = False) -> dict[str, str]:
        rendered = {language: scope.text(text) for language, text in texts.items()}
        return {language: clean_line(text) if line else text for language, text in rendered.items()}

    def shown(other: Node) -> str:
        return other[1] if other[0] == host else f"{other[0]}/{other[1]}"

    title = localized(issue.title, line=True)
    finding: dict[str, t.Any] = {
        "id": name,
        "state": "found",
        "severity": issue.severity,
        "component": issue.component,
        "rank": link.rank,
        "explained_by": shown(link.explained_by) if link.explained_by else None,
        "explains": [shown(other) for other in link.explains],
        "title": {language: text or name.replace("_", " ") for language, text in title.items()},
        "evidence": evidence(issue, facts),
        "advice": localized(issue.advice),
        "fix": _remedy(issue, scope),
        "sources": list(issue.sources),
    }
    fix = finding["fix"]
    if issue.no_fix and not (fix and fix.get("judged", True)):
        finding["no_fix"] = localized(issue.no_fix)
    notes = []
    if expired:
        notes.append(
            {
                "en": f"A waiver of this finding ended on {expired.until} ({expired.reason}).",
                "fr": f"Une dérogation pour ce constat a pris fin le {expired.until} ({expired.reason}).",
            }
        )
    if behind and not link.explained_by:
        cause, waiver = shown(behind[0]), behind[1]
        told = {
            "en": f"Its cause is known, {cause}, and waived until {waiver.until} ({waiver.reason}).",
            "fr": f"Sa cause est connue, {cause}, et fait l'objet d'une dérogation jusqu'au {waiver.until} ({waiver.reason}).",
        }
        if "no_fix" in finding and not issue.explains:  # a mere symptom: its no_fix would say that nobody knows the cause
            finding["no_fix"] = told
        else:
            notes.append(told)
    if notes:
        finding["note"] = {language: " ".join(note[language] for note in notes) for language in notes[0]}
    return finding


def _remedy(issue: KnownIssue, scope: Scope) -> dict[str, t.Any] | None:
    """The first alternative that is known to hold; options whose text is empty here are left out."""
    for remedy in issue.fix:
        try:
            if remedy.when is not None and not scope.condition(remedy.when):
                continue
        except Undecided:
            continue  # nothing is changed on a guess
        fix: dict[str, t.Any] = {"name": remedy.name, "impact": remedy.impact}
        options = {name: scope.text(text) for name, text in remedy.options.items()}
        if any(options.values()):
            fix["options"] = {name: text for name, text in options.items() if text}
        if not remedy.judged:
            fix["judged"] = False
        return fix
    return None


def _host(
    facts: Facts,
    findings: list[dict[str, t.Any]],
    judgements: dict[str, Judgement],
    waived: dict[str, Waiver],
    catalogue: t.Mapping[str, KnownIssue],
) -> Diagnosis:
    unknown = [{"id": name, "reason": judgement.reason} for name, judgement in judgements.items() if judgement.state == "unknown"]
    passed = [name for name, judgement in judgements.items() if judgement.state == "clear"]
    unclassified = _unclassified(facts)
    severities = {finding["severity"] for finding in findings}
    if severities & set(FAULTS):
        verdict = "faults"
    elif unknown:
        verdict = "incomplete"
    elif unclassified and alone(facts):
        # On a server such errors count when they are many (web_errors_5xx); here they are all there is.
        verdict = "unclassified"
    else:
        verdict = "advice" if severities else "clear"
    scopes = {name: Scope(facts, name) for name in waived}
    host: Diagnosis = {
        "verdict": verdict,
        "checked": len(passed) + len(findings) + len(waived),
        "findings": sorted(findings, key=lambda finding: (finding["rank"], SEVERITIES.index(finding["severity"]), finding["id"])),
        "unknown": unknown,
        "waived": [
            {
                "id": name,
                "reason": waiver.reason,
                "until": waiver.until,
                "title": {language: clean_line(scopes[name].text(text)) for language, text in catalogue[name].title.items()},
            }
            for name, waiver in waived.items()
        ],
        "passed": passed,
        "probes": _probes(facts),
    }
    noise = [
        {"id": name, "title": issue.title, "evidence": evidence(issue, facts)}
        for name, issue in catalogue.items()
        if issue.noise and seen(issue, facts)
    ]
    host.update({key: value for key, value in (("unclassified", unclassified), ("noise", noise)) if value})
    seconds = _seconds(facts)
    if seconds is not None:
        host["seconds"] = seconds
    if facts.get("recorded"):
        host["recorded"] = True
    return host


def _unclassified(facts: Facts) -> list[dict[str, t.Any]]:
    """Exceptions that no known issue has a signature for."""
    told = []
    for entry in entries(branch(facts, "logs").get("exceptions"))[:_MOST_UNCLASSIFIED]:
        if isinstance(entry, dict) and entry.get("known") is False:
            kept = {key: clean_line(entry[key]) for key in ("class", "frame", "origin", "message") if entry.get(key)}
            count = entry.get("count")
            ids = [clean_line(one, 64) for one in entries(entry.get("request_ids"))[:3]]
            told.append({**kept, "count": count if isinstance(count, int) else 1, "request_ids": ids})
    return told


def _unseen(reason: str) -> Diagnosis:
    unknown = [{"id": "host", "reason": clean_line(reason, 1000) or "no facts, and no reason was given"}]
    return {"verdict": "incomplete", "checked": 0, "findings": [], "unknown": unknown, "waived": [], "passed": [], "probes": {}}


def _probes(facts: Facts) -> dict[str, t.Any]:
    probes = {}
    for name, raw in branch(facts, "probes").items():
        if not isinstance(raw, dict) or not re.match(r"[a-z_]{1,40}\Z", name):
            continue
        state = raw.get("state")
        probe: dict[str, t.Any] = {"state": state if state in PROBE_STATES else "failed"}
        if isinstance(raw.get("seconds"), (int, float)):
            probe["seconds"] = raw["seconds"]
        if raw.get("reason"):
            probe["reason"] = clean_line(raw["reason"])
        probes[name] = probe
    return probes


def _seconds(facts: Facts) -> float | None:
    """Wall time of the whole call when it was measured, otherwise of the slowest subset: they run side by side."""
    whole = facts.get("seconds")
    if isinstance(whole, (int, float)):
        return round(float(whole), 3)
    slowest = [probe["seconds"] for probe in _probes(facts).values() if "seconds" in probe]
    return round(max(slowest), 3) if slowest else None
