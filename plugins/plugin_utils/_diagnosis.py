# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts and known issues become a diagnosis. Pure: nothing is read, asked or changed here. Private to this collection."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._causes import Cause, Links, Node
from ansible_collections.fediops.mastodon.plugins.plugin_utils._container_note import in_containers
from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import FleetScope, Scope, Undecided, branch, entries
from ansible_collections.fediops.mastodon.plugins.plugin_utils._fleet import judge_fleet, told_once
from ansible_collections.fediops.mastodon.plugins.plugin_utils._instances import APPS, SERVERS, Instance, Instances, roles
from ansible_collections.fediops.mastodon.plugins.plugin_utils._judgement import Judgement, alone, evidence, judge, named_facts, seen
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import SEVERITIES, KnownIssue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line
from ansible_collections.fediops.mastodon.plugins.plugin_utils._waivers import Waiver, waiver_for

SCHEMA = 1
PROBE_STATES = ("ok", "failed", "timeout", "skipped", "denied")
VERDICTS = ("faults", "incomplete", "unclassified", "advice", "clear")  # worst first
FAULTS = SEVERITIES[:3]
_MOST_UNCLASSIFIED = 20
FLEET = "\0"  # begins the place of an instance as a whole: no host is called like that

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

    instances = Instances(facts)
    judged = {host: {name: judge(issue, fact) for name, issue in catalogue.items() if not issue.fleet} for host, fact in facts.items()}
    told_once(judged, facts, catalogue, instances)
    wholes = {FLEET + str(number): _whole(instance, facts, catalogue) for number, instance in enumerate(instances.all)}
    judged.update({place: whole.judged for place, whole in wholes.items()})
    held: dict[Node, Waiver] = {}
    expired: dict[Node, Waiver] = {}
    found: dict[str, list[str]] = {}
    for place, judgements in judged.items():
        found[place] = []
        for name in (name for name, judgement in judgements.items() if judgement.state == "found"):
            holds, over = waiver_for(waivers, name, wholes[place].instance.name if place in wholes else place, now)
            if holds:
                held[(place, name)] = holds
                continue  # a waived finding explains nothing: what it causes is somebody's outage and stays in sight
            found[place].append(name)
            if over:
                expired[(place, name)] = over

    links = Links(facts, catalogue, instances, wholes)
    known = _Known(catalogue, links.of(found), expired, _waived_causes(found, held, links))
    hosts: dict[str, Diagnosis] = {}
    for host in sorted({*facts, *missing}):
        if host in facts:
            here = facts[host]
            findings = [_finding((host, name), Scope(here, name), evidence(catalogue[name], here), known) for name in found[host]]
            waived = {name: held[(host, name)] for name in catalogue if (host, name) in held}
            hosts[host] = _host(here, findings, judged[host], waived, catalogue)
        else:
            hosts[host] = _unseen(missing[host])
    fleet = _fleet(wholes, found, held, known)
    return {
        "schema": SCHEMA,
        "run": run,
        "verdict": min([*(host["verdict"] for host in hosts.values()), _fleet_verdict(fleet)], key=VERDICTS.index)
        if hosts
        else "incomplete",
        "hosts": hosts,
        "fleet": fleet,
        "known_issues": {name: {"component": issue.component, "severity": issue.severity} for name, issue in catalogue.items()},
    }


class _Whole(t.NamedTuple):
    """An instance as a whole: what was judged of it, and what its expressions see."""

    instance: Instance
    judged: dict[str, Judgement]
    scopes: dict[str, FleetScope]

    @property
    def hosts(self) -> tuple[str, ...]:
        return self.instance.hosts


class _Known(t.NamedTuple):
    """What a finding is described with."""

    catalogue: t.Mapping[str, KnownIssue]
    links: t.Mapping[Node, Cause]
    expired: t.Mapping[Node, Waiver]
    behind: t.Mapping[Node, tuple[Node, Waiver]]  # a waived cause


def _whole(instance: Instance, facts: t.Mapping[str, Facts], catalogue: t.Mapping[str, KnownIssue]) -> _Whole:
    judged, scopes = {}, {}
    for name, issue in catalogue.items():
        if issue.fleet:
            judged[name], scopes[name] = judge_fleet(issue, instance, facts)
    return _Whole(instance, judged, scopes)


def _fleet(wholes: t.Mapping[str, _Whole], found: t.Mapping[str, list[str]], held: t.Mapping[Node, Waiver], known: _Known) -> Diagnosis:
    """What is found of instances as a whole; `unknown` and `waived` only when there are any."""
    findings, unknown, waived = [], [], []
    for place, whole in wholes.items():
        of = {"name": clean_line(whole.instance.name, 253), "hosts": list(whole.hosts)}
        for name, judgement in whole.judged.items():
            if name in found[place]:
                told = named_facts(known.catalogue[name], whole.scopes[name])
                findings.append({**_finding((place, name), whole.scopes[name], told, known), "instance": of})
            elif (place, name) in held:
                waived.append({**_waived(name, held[(place, name)], whole.scopes[name], known.catalogue[name]), "instance": of})
            elif judgement.state == "unknown":
                unknown.append({"id": name, "reason": judgement.reason, "instance": of})
    findings.sort(key=_order)
    return {"findings": findings, **{key: value for key, value in (("unknown", unknown), ("waived", waived)) if value}}


def _fleet_verdict(fleet: Diagnosis) -> str:
    severities = {finding["severity"] for finding in fleet["findings"]}
    if severities & set(FAULTS):
        return "faults"
    return "incomplete" if fleet.get("unknown") else "advice" if severities else "clear"


def _order(finding: dict[str, t.Any]) -> tuple[t.Any, ...]:
    return (finding["rank"], SEVERITIES.index(finding["severity"]), finding["id"])


def plain(raw: t.Any) -> Facts:
    """Facts as plain JSON types: Ansible's tagged or unsafe strings would make every later step slower and depend on its version."""
    return t.cast("Facts", json.loads(json.dumps(raw, default=str)))


def _served_elsewhere(facts_by_host: t.Mapping[str, t.Any]) -> set[str]:
    """Roles that some host with the application lacks: only then is a host with nothing else of use."""
    return {role for role in SERVERS for here in map(roles, facts_by_host.values()) if set(APPS) & here and role not in here}


def _unusable(raw: t.Any, elsewhere: set[str]) -> str | None:
    """Why these facts are none, as one sentence, or None."""
    if not isinstance(raw, dict) or "probes" not in raw:
        return "the facts are not those of fediops.mastodon.mastodon_facts"
    if raw.get("schema") != 1:
        return f"the facts have schema {clean_line(raw.get('schema'), 20)}, this version of the collection reads schema 1"
    if alone(raw):
        return None
    install = branch(raw, "install")
    told = branch(raw, "host").get("instance")
    if install.get("found") is False and not told and not elsewhere & {str(role) for role in entries(install.get("roles"))}:
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


def _waived_causes(found: t.Mapping[str, list[str]], held: t.Mapping[Node, Waiver], links: Links) -> dict[Node, tuple[Node, Waiver]]:
    """For findings that only a waived one would explain: that one. Their cause is known, though nobody is told to act upon it."""
    if not held:
        return {}
    everything = {host: [*names, *(name for other, name in held if other == host)] for host, names in found.items()}
    explained = {node: cause.explained_by for node, cause in links.of(everything).items()}
    shown = [(host, name) for host, names in found.items() for name in names]
    return {node: (cause, held[cause]) for node in shown if (cause := explained[node]) is not None and cause in held}


def _finding(node: Node, scope: Scope, told: list[dict[str, t.Any]], known: _Known) -> dict[str, t.Any]:
    place, name = node
    issue, link = known.catalogue[name], known.links[node]
    expired, behind = known.expired.get(node), known.behind.get(node)

    def localized(texts: dict[str, str], *, line: bool = False) -> dict[str, str]:
        rendered = {language: scope.told(text) for language, text in texts.items()}
        return {language: clean_line(text) if line else text for language, text in rendered.items()}

    def shown(other: Node) -> str:
        where = "fleet" if other[0].startswith(FLEET) else other[0]
        return other[1] if other[0] == place else f"{where}/{other[1]}"

    title = localized(issue.title, line=True)
    fix, undecided = _remedy(issue, scope)
    finding: dict[str, t.Any] = {
        "id": name,
        "state": "found",
        "severity": issue.severity,
        "component": issue.component,
        "rank": link.rank,
        "explained_by": shown(link.explained_by) if link.explained_by else None,
        "explains": [shown(other) for other in link.explains],
        "title": {language: text or name.replace("_", " ") for language, text in title.items()},
        "evidence": told,
        "advice": localized(issue.advice),
        "fix": fix,
        "sources": list(issue.sources),
    }
    if issue.no_fix and not undecided and not (fix and fix.get("judged", True)):
        finding["no_fix"] = localized(issue.no_fix)
    notes = []
    directory = scope.text("{{ install.compose.directory }}")
    contained = directory or scope.text("{% if logs.alone and install.deployment == 'docker' %}it is{% endif %}")
    if contained and (meant := in_containers(directory, finding["advice"].get("en", ""))):
        notes.append(meant)
    if expired:
        notes.append(
            {
                "en": f"A waiver of this finding ended on {expired.until} ({expired.reason}).",
                "fr": f"Une dérogation pour ce constat a pris fin le {expired.until} ({expired.reason}).",
            }
        )
    if behind and not link.explained_by:
        cause, waiver = shown(behind[0]), behind[1]
        because = {
            "en": f"Its cause is known, {cause}, and waived until {waiver.until} ({waiver.reason}).",
            "fr": f"Sa cause est connue, {cause}, et fait l'objet d'une dérogation jusqu'au {waiver.until} ({waiver.reason}).",
        }
        if "no_fix" in finding and not link.explains:  # a mere symptom: its no_fix would say that nobody knows the cause
            finding["no_fix"] = because
        else:
            notes.append(because)
    if notes:
        finding["note"] = {language: " ".join(note[language] for note in notes) for language in notes[0]}
    return finding


def _remedy(issue: KnownIssue, scope: Scope) -> tuple[dict[str, t.Any] | None, bool]:
    """The first alternative that is known to hold, without options whose text is empty here; else whether one of them might."""
    undecided = False
    for remedy in issue.fix:
        try:
            if remedy.when is not None and not scope.condition(remedy.when):
                continue
        except Undecided:
            undecided = True  # nothing is changed on a guess
            continue
        fix: dict[str, t.Any] = {"name": remedy.name, "impact": remedy.impact}
        options = {name: scope.text(text) for name, text in remedy.options.items()}
        if any(options.values()):
            fix["options"] = {name: text for name, text in options.items() if text}
        if not remedy.judged:
            fix["judged"] = False
        return fix, False
    return None, undecided


def _host(
    facts: Facts,
    findings: list[dict[str, t.Any]],
    judgements: dict[str, Judgement],
    waived: dict[str, Waiver],
    catalogue: t.Mapping[str, KnownIssue],
) -> Diagnosis:
    unknown = [{"id": name, "reason": judgement.reason} for name, judgement in judgements.items() if judgement.state == "unknown"]
    passed = [name for name, judgement in judgements.items() if judgement.state == "clear"]
    unclassified = _unclassified(facts, catalogue, {name for name, judgement in judgements.items() if judgement.state == "found"})
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
    host: Diagnosis = {
        "verdict": verdict,
        "checked": len(passed) + len(findings) + len(waived),
        "findings": sorted(findings, key=_order),
        "unknown": unknown,
        "waived": [_waived(name, waiver, Scope(facts, name), catalogue[name]) for name, waiver in waived.items()],
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


def _waived(name: str, waiver: Waiver, scope: Scope, issue: KnownIssue) -> dict[str, t.Any]:
    title = {language: clean_line(scope.told(text)) for language, text in issue.title.items()}
    return {"id": name, "reason": waiver.reason, "until": waiver.until, "title": title}


def _unclassified(facts: Facts, catalogue: t.Mapping[str, KnownIssue], found: set[str]) -> list[dict[str, t.Any]]:
    """Exceptions that no known issue has a signature for, or only weak ones of issues that were not found."""
    told = []
    for entry in entries(branch(facts, "logs").get("exceptions"))[:_MOST_UNCLASSIFIED]:
        if isinstance(entry, dict) and isinstance(entry.get("signatures"), list) and not _classified(entry, catalogue, found):
            kept = {key: clean_line(entry[key]) for key in ("class", "frame", "origin", "message") if entry.get(key)}
            count = entry.get("count")
            ids = [clean_line(one, 64) for one in entries(entry.get("request_ids"))[:3]]
            told.append({**kept, "count": count if isinstance(count, int) else 1, "request_ids": ids})
    return told


def _classified(entry: Facts, catalogue: t.Mapping[str, KnownIssue], found: set[str]) -> bool:
    fitting = [clean_line(key, 200).partition(".") for key in entries(entry["signatures"])]
    issues = [(catalogue.get(name), name, signature) for name, _dot, signature in fitting]
    return any(name in found or issue is not None and (issue.noise or signature in issue.strong) for issue, name, signature in issues)


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
