# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every form of the report wants to know of a diagnosis. Private to this collection."""

from __future__ import annotations

import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import count

Diagnosis = dict[str, t.Any]
Host = dict[str, t.Any]
Finding = dict[str, t.Any]

VERDICTS = ("faults", "incomplete", "unclassified", "advice", "clear")  # worst first
SEVERITIES = ("critical", "error", "warning", "advice")
FAULTS = SEVERITIES[:3]


def hosts_worst_first(diagnosis: Diagnosis) -> list[tuple[str, Host]]:
    return sorted(diagnosis["hosts"].items(), key=lambda item: (VERDICTS.index(item[1]["verdict"]), item[0]))


def wholes(diagnosis: Diagnosis) -> list[tuple[str, Host]]:
    """Instances as a whole in the form of hosts, those of which there is something to say: their findings stand between hosts."""
    found: dict[str, Host] = {}
    for key in ("findings", "unknown", "waived"):
        for entry in diagnosis["fleet"].get(key, ()):
            empty = {"checked": 0, "findings": [], "unknown": [], "waived": [], "passed": [], "probes": {}}
            found.setdefault(f"{entry['instance']['name']} (instance)", empty)[key].append(entry)
    for host in found.values():
        severities = {finding["severity"] for finding in host["findings"]}
        waived = "advice" if severities else "clear"
        host["verdict"] = "faults" if severities & set(FAULTS) else "incomplete" if host["unknown"] else waived
    return sorted(found.items(), key=lambda item: (VERDICTS.index(item[1]["verdict"]), item[0]))


def roots(host: Host) -> list[Finding]:
    """Root causes that are faults, then advice: what a reader has to act upon."""
    return sorted(
        (finding for finding in host["findings"] if finding["rank"] == 1), key=lambda finding: SEVERITIES.index(finding["severity"])
    )


def symptoms(host: Host) -> list[Finding]:
    return [finding for finding in host["findings"] if finding["rank"] > 1]


def elsewhere(host: Host) -> list[Finding]:
    """Findings whose cause is on another host; they hang under no finding of this one."""
    return [finding for finding in host["findings"] if finding["explained_by"] and "/" in finding["explained_by"]]


def was_worked_on(host: Host) -> bool:
    """Whether a remediation has something to tell of this host."""
    told = host.get("remediation") or {}
    return bool(told.get("steps") or told.get("failed") or told.get("not_touched") or told.get("recovered") or told.get("left_open"))


def not_seen(host: Host) -> str | None:
    """Why the host as a whole could not be looked at, or None."""
    return next((entry["reason"] for entry in host.get("unknown", ()) if entry["id"] == "host"), None)


def gaps(diagnosis: Diagnosis) -> dict[str, str]:
    """Hosts that could not be fully checked: not seen at all, or with a subset that was refused or failed.

    A subset without an answer in time is not among them: a hanging service is the server's trouble, and the report tells of it.
    """
    result = {}
    for name, host in diagnosis["hosts"].items():
        reason = not_seen(host)
        if reason is None:
            bad = [(subset, probe) for subset, probe in host["probes"].items() if probe["state"] in ("denied", "failed")]
            if not bad:
                continue
            subset, probe = bad[0]
            more = f" and {len(bad) - 1} more subsets" if len(bad) > 1 else ""
            reason = f"{subset}{more} {probe['state']}" + (f": {probe['reason']}" if probe.get("reason") else "")
        result[name] = reason
    return result


def partly(host: Host) -> list[str]:
    """Subsets that were read, and what of them was not, one line each."""
    return [f"{subset}: {probe['reason']}" for subset, probe in host["probes"].items() if probe["state"] == "ok" and probe.get("reason")]


def worst_severity(diagnosis: Diagnosis) -> str | None:
    severities = {finding["severity"] for host in diagnosis["hosts"].values() for finding in host["findings"]}
    severities |= {finding["severity"] for finding in diagnosis["fleet"]["findings"]}
    return next((severity for severity in SEVERITIES if severity in severities), None)


def summary_of(host: Host, language: str) -> str:
    """ "1 root cause, 4 symptoms explained", or what was checked when nothing is wrong."""
    parts = []
    faults = sum(1 for finding in roots(host) if finding["severity"] in FAULTS)
    below = len(symptoms(host))
    advice = sum(1 for finding in roots(host) if finding["severity"] == "advice")
    if faults or below:
        parts.append(count("root_cause", "root_causes", faults, language))
        if below:
            parts.append(count("symptom", "symptoms", below, language))
    elif host["checked"]:
        parts.append(count("checked_one", "checked_many", host["checked"], language))
    if advice:
        parts.append(count("advice_one", "advice_many", advice, language))
    missing = sum(1 for entry in host["unknown"] if entry["id"] != "host")
    if missing:
        parts.append(count("unknown_one", "unknown_many", missing, language))
    if host["waived"]:
        parts.append(count("waived_one", "waived_many", len(host["waived"]), language))
    if host.get("unclassified"):
        parts.append(count("unclassified_one", "unclassified_many", len(host["unclassified"]), language))
    return ", ".join(parts)


def errors_of(host: Host) -> list[str]:
    """Errors in the logs that no known issue explains, one line each."""
    told = []
    for entry in host.get("unclassified", ()):
        place = f" at {entry['frame']}" if entry.get("frame") else ""
        ids = f" ({entry['request_ids'][0]})" if entry.get("request_ids") else ""
        told.append(f"{entry['class']} x{entry['count']} [{entry['origin']}]{place}: {entry.get('message', '')}{ids}")
    return told


def cell(host: Host, component: str, known_issues: dict[str, dict[str, str]]) -> tuple[str, int]:
    """State of a component on a host for the overview: (severity | unknown | ok | none, number of findings or unknowns)."""
    found = [finding["severity"] for finding in host["findings"] if finding["component"] == component]
    if found:
        return min(found, key=SEVERITIES.index), len(found)
    missing = [
        entry for entry in host["unknown"] if entry["id"] == "host" or known_issues.get(entry["id"], {}).get("component") == component
    ]
    if missing:
        return "unknown", len(missing)
    if any(known_issues.get(name, {}).get("component") == component for name in host["passed"]):
        return "ok", 0
    return "none", 0
