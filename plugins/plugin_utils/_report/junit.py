# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis as JUnit XML: a suite for each host, a case for each known issue. Private to this collection."""

from __future__ import annotations

import typing as t
import xml.etree.ElementTree as ET

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import acts, view
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.view import Diagnosis, Finding, Host
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_text


def render(diagnosis: Diagnosis, language: str = "en") -> str:
    """A root cause and a symptom are failures (their type tells which is which), advice is passed with a note, unknown is skipped."""
    suites = ET.Element("testsuites", name="fediops.mastodon")
    for name, host in diagnosis["hosts"].items():
        _suite(suites, name, host, diagnosis, language)
    for name, whole in view.wholes(diagnosis):
        _suite(suites, name, whole, diagnosis, language)
    for key in ("tests", "failures", "skipped"):
        suites.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, encoding="unicode") + "\n"


def _suite(suites: ET.Element, name: str, host: Host, diagnosis: Diagnosis, language: str) -> None:
    suite = ET.SubElement(
        suites, "testsuite", name=clean_text(name), hostname=clean_text(name), errors="0", timestamp=diagnosis["run"]["started"]
    )
    if "seconds" in host:
        suite.set("time", f"{host['seconds']:.3f}")
    failures = skipped = 0

    def case(identifier: str) -> ET.Element:
        component = diagnosis["known_issues"].get(identifier, {}).get("component", "host")
        return ET.SubElement(suite, "testcase", classname=clean_text(f"{name}.{component}"), name=identifier, time="0")

    for finding in host["findings"]:
        element = case(finding["id"])
        if finding["severity"] == "advice":
            ET.SubElement(element, "system-out").text = _story(finding, language)
            continue
        failures += 1
        kind = "root-cause" if finding["rank"] == 1 else "symptom"
        failure = ET.SubElement(element, "failure", type=f"{kind}.{finding['severity']}", message=clean_text(finding["title"][language]))
        failure.text = _story(finding, language)
    for entry, told in [*((entry, entry["reason"]) for entry in host["unknown"]), *((entry, _waiver(entry)) for entry in host["waived"])]:
        skipped += 1
        ET.SubElement(case(entry["id"]), "skipped", message=clean_text(told))
    for identifier in host["passed"]:
        case(identifier)
    for act in acts.acts(name, host, diagnosis["run"]):
        element = ET.SubElement(suite, "testcase", classname=clean_text(f"{name}.remediation"), name=clean_text(act.what), time="0")
        story = clean_text(
            "\n".join([act.why[language], *(f"{text(word, language)}: {'; '.join(told)}" for word, told in act.details)]), 8000
        )
        if act.state in acts.BAD:
            failures += 1
            failure = ET.SubElement(element, "failure", type=f"remediation.{act.state}", message=text(f"act_{act.state}", language))
            failure.text = story
        elif act.state in ("not_allowed", "not_touched", "refused", "planned"):
            skipped += 1
            ET.SubElement(element, "skipped", message=clean_text(f"{text(f'act_{act.state}', language)}: {act.why[language]}"))
        else:
            ET.SubElement(element, "system-out").text = story
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(failures))
    suite.set("skipped", str(skipped))


def _waiver(entry: dict[str, t.Any]) -> str:
    return f"waived until {entry['until']}: {entry['reason']}"


def _story(finding: Finding, language: str) -> str:
    lines = [finding["title"][language]]
    if finding["explained_by"]:
        lines.append(f"caused by {finding['explained_by']}")
    lines += [f"{entry.get('fact') or entry.get('source')}: {entry['value']}" for entry in finding["evidence"]]
    lines += [finding[key][language] for key in ("advice", "no_fix", "note") if key in finding]
    return clean_text("\n".join(lines), 8000)
