# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The full diagnosis by the clock, where Ansible is (private, may change any time).

Runs the playbook, keeps the reports, and tells what is new and what is over through the same channels as the watch.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
import time

from typing import Any, Dict, Iterable, List

from ansible_collections.fediops.mastodon.plugins.module_utils._change.commands import act
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, HostError
from ansible_collections.fediops.mastodon.plugins.module_utils._redact import strip_controls
from ansible_collections.fediops.mastodon.plugins.module_utils._watch import metrics, store
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.conditions import CLEAR, FIRING, UNKNOWN, Condition
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.episodes import open_keys, step
from ansible_collections.fediops.mastodon.plugins.module_utils._watch.outbox import deliver_all, put

SETTINGS = "/etc/fediops.mastodon/diagnose.json"
SECRETS = "/etc/fediops.mastodon/diagnose.secrets.json"
FILE = "fediops_mastodon_diagnosis.prom"
MAX_DIAGNOSIS_BYTES = 64 << 20
_INSTANCE = " (instance)"
_RUN = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\Z")


def run() -> int:
    """One diagnosis. Exit code 1 when it could not be made, or a channel did not take what was to be told."""
    settings = store.settings(SETTINGS)
    directory = settings["directory"]
    state = store.load((directory,))
    stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    reports = directory + "/reports"
    os.makedirs(reports, mode=0o700, exist_ok=True)
    problem = ""
    diagnosis: Dict[str, Any] = {}
    try:
        diagnosis = _diagnose(settings, reports + "/" + stamp)
    except HostError as trouble:
        problem = str(trouble)
    for host, notices in judged(state, diagnosis, problem, time.time(), int(settings["clear_passes"])).items():
        put(state, notices, host, settings)
    problems = deliver_all(state, settings, store.secrets(SECRETS))
    store.save(state, (directory,))
    if diagnosis:
        _latest(reports, stamp)
        _forget(reports, int(settings["keep"]))
        if settings.get("textfile_directory"):
            metrics.write(settings["textfile_directory"], findings(diagnosis, time.time()).text(), FILE)
    for each in [*([problem] if problem else []), *problems]:
        sys.stderr.write("%s\n" % (each))
    return 1 if problem or problems else 0


def judged(
    state: Dict[str, Any], diagnosis: Dict[str, Any], problem: str, now: float, clear_passes: int
) -> Dict[str, List[Dict[str, Any]]]:
    """What is to be told, by host. Only root causes are told: what they explain ends with them."""
    here = platform.node()
    states = state.setdefault("hosts", {})
    notices: Dict[str, List[Dict[str, Any]]] = {}
    for name, host in _places(diagnosis, states).items():
        own = states.setdefault(name, {})
        found = {each["id"]: each for each in host["findings"] if each["rank"] == 1 and each["severity"] != "advice"}
        explained = {each["id"] for each in host["findings"]} - set(found)
        unknown = {each["id"] for each in host["unknown"]}
        conditions = [
            Condition(each["id"], each["id"], each["severity"], FIRING, strip_controls(_text(each["title"]))[:300])
            for each in found.values()
        ]
        # A finding that something explains now is still there; one that could not be checked may be.
        conditions += [
            Condition(key, key, "error", UNKNOWN if key in unknown | explained or host["verdict"] == "incomplete" else CLEAR, "")
            for key in sorted(open_keys(own))
            if key not in found
        ]
        notices[name] = step(own, conditions, now, {}, clear_passes)
    failed = Condition("diagnosis_failed", "diagnosis_failed", "error", FIRING if problem else CLEAR, problem[:600])
    notices.setdefault(here, []).extend(step(state.setdefault("self", {}), [failed], now, {}, 1))
    return notices


def _places(diagnosis: Dict[str, Any], told: Iterable[str]) -> Dict[str, Any]:
    """Hosts, and in their form the instances of which something was found between hosts, or was told before."""
    if not diagnosis:
        return {}
    places = dict(diagnosis["hosts"])
    fleet = diagnosis.get("fleet", {})
    entries = [(each, key) for key in ("findings", "unknown") for each in fleet.get(key, ())]
    names = [each["instance"]["name"] + _INSTANCE for each, _key in entries] + [name for name in told if name.endswith(_INSTANCE)]
    places.update({name: {"findings": [], "unknown": [], "verdict": ""} for name in names})
    for each, key in entries:
        places[each["instance"]["name"] + _INSTANCE][key].append(each)
    return places


def findings(diagnosis: Dict[str, Any], now: float) -> metrics.Metrics:
    """The findings for Prometheus."""
    found = metrics.Metrics()
    found.add("diagnosis_last_success_timestamp_seconds", "gauge", "When the full diagnosis last came to its end.", now)
    places = sorted(_places(diagnosis, ()).items())
    for name, host in places:
        found.add("diagnosis_unknown", "gauge", "Known issues that could not be checked.", len(host["unknown"]), host=name)
    for name, host in places:
        for each in host["findings"]:
            found.add(
                "finding",
                "gauge",
                "Whether this known issue is found (1) or not (0).",
                1,
                host=name,
                issue=each["id"],
                rank=each["rank"],
                source="diagnosis",
            )
    return found


def _diagnose(settings: Dict[str, Any], report: str) -> Dict[str, Any]:
    variables = dict(settings["variables"], mastodon_report_dir=report)
    argv = [
        settings["ansible_playbook"],
        settings["playbook"],
        "-i",
        settings["inventory"],
        *settings["arguments"],
        "-e",
        json.dumps(variables),
    ]
    done = act(
        argv,
        float(settings["seconds"]),
        environment=dict(settings["environment"], HOME=os.path.expanduser("~")),
        cwd=settings["project_directory"],
    )
    path = report + "/diagnosis.json"
    if not os.path.isfile(path):
        # The run of Ansible is told in the journal; one line of it is enough for an alert.
        sys.stderr.write("%s\n" % (strip_controls(done.output)[-4000:]))
        raise HostError(
            "the diagnosis made no report (%s): %s"
            % (
                "it took longer than %d s" % settings["seconds"] if done.rc is None else "exit code %d" % done.rc,
                strip_controls(done.last_line),
            )
        )
    try:
        diagnosis = json.loads(Host(time.monotonic() + 30).text(path, MAX_DIAGNOSIS_BYTES))
    except ValueError:
        diagnosis = None
    if not isinstance(diagnosis, dict) or not isinstance(diagnosis.get("hosts"), dict):
        raise HostError("%s is not a diagnosis" % path)
    return diagnosis


def _text(title: Any) -> str:
    return str(title.get("en", "")) if isinstance(title, dict) else str(title)


def _latest(reports: str, stamp: str) -> None:
    temporary = reports + "/.latest"
    if os.path.lexists(temporary):
        os.unlink(temporary)
    os.symlink(stamp, temporary)
    os.rename(temporary, reports + "/latest")


def _forget(reports: str, keep: int) -> None:
    for name in sorted(name for name in os.listdir(reports) if _RUN.match(name))[:-keep]:
        shutil.rmtree(reports + "/" + name, ignore_errors=True)
