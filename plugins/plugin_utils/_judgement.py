# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One known issue on one host: found, clear, unknown or not applicable, and why. Private to this collection."""

from __future__ import annotations

import datetime
import operator
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._expressions import Scope, Undecided, branch, entries, subsets_of
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import Alone, KnownIssue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

Facts = dict[str, t.Any]
Entry = dict[str, t.Any]

_COMPARE: dict[str, t.Callable[[t.Any, t.Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_MOST_OF_EACH = 12
_OF_ANY_HOST = {"disk", "memory", "services", "logs", "remediation", "host", "clock", "time_epoch"}  # subsets that need no Mastodon
_MOST_SAMPLES = 3


class Judgement(t.NamedTuple):
    state: str  # found | clear | unknown | not_applicable
    reason: str = ""
    excused: bool = False  # clear by counter-evidence alone, such as "it was just started"


def judge(issue: KnownIssue, facts: Facts) -> Judgement:
    """The state of a known issue. Undecided is never clear: what could not be read is unknown, with the reason."""
    lines_alone = alone(facts)
    about = applies(issue, facts)
    if about is not None and not (lines_alone and about.state == "unknown"):
        return about
    if lines_alone:
        return _judge_lines(issue, facts)
    if issue.noise:
        return Judgement("not_applicable")
    scope = Scope(facts, issue.id, {name: signature["in"] for name, signature in issue.signatures.items()})
    undecided: tuple[str, str] | None = None
    found = False
    for expression in issue.when:
        try:
            found = found or scope.condition(expression)
        except Undecided as error:
            undecided = undecided or (expression, str(error))
    missing = next((path for path in issue.needs if not scope.has(path)), None)
    if not found and is_of_the_app(facts, [missing.split(".")[0]] if missing else subsets_of(undecided[0]) if undecided else []):
        return Judgement("not_applicable")
    if found:
        for expression in issue.unless:
            try:
                if scope.condition(expression):
                    return Judgement("clear", excused=True)
            except Undecided:
                continue  # counter-evidence nobody could read refutes nothing
        return Judgement("found")
    if missing:
        return Judgement("unknown", why_missing(facts, (missing.split(".")[0],), f"{missing} is not among the facts"))
    if undecided:
        expression, missing_fact = undecided
        return Judgement(
            "unknown",
            why_missing(facts, subsets_of(expression), f"a fact is missing: {missing_fact}" if missing_fact else "a fact is missing"),
        )
    return Judgement("clear")


def is_of_the_app(facts: Facts, subsets: t.Iterable[str]) -> bool:
    """Whether this cannot be known of a host that has PostgreSQL, Redis or the proxy of an instance and nothing of Mastodon."""
    return branch(facts, "install").get("found") is False and not set(subsets) <= _OF_ANY_HOST


def alone(facts: Facts) -> bool:
    """Whether there are only log lines, and no server to look at."""
    return branch(facts, "logs").get("alone") is True


def _judge_lines(issue: KnownIssue, facts: Facts) -> Judgement:
    """What the lines prove: the issue's own conditions for that, else any signature that is not weak."""
    if issue.noise or not (issue.signatures or issue.alone):
        return Judgement("not_applicable")
    probe = branch(facts, "probes", "logs")
    if probe.get("state") == "failed":
        return Judgement("unknown", clean_line(probe.get("reason")))
    scope = Scope(facts, issue.id)

    def holds(expression: str) -> bool:
        try:
            return scope.condition(expression)
        except Undecided:
            return False

    conditions = issue.alone or Alone()
    if not any(map(holds, conditions.when or conditions.also)) and (conditions.when or not any(map(scope.seen, issue.strong))):
        return Judgement("clear")
    return Judgement("clear", excused=True) if any(map(holds, conditions.unless)) else Judgement("found")


def seen(issue: KnownIssue, facts: Facts) -> bool:
    """Whether any line of it is in the logs that were read."""
    found = branch(facts, "logs", "signatures")
    return any(branch(found, f"{issue.id}.{name}").get("count") for name in issue.signatures)


def applies(issue: KnownIssue, facts: Facts) -> Judgement | None:
    """None when the issue is about such a host."""
    install = branch(facts, "install")
    if issue.roles:
        if "roles" not in install:
            return Judgement("unknown", why_missing(facts, ("install",), "the roles of this host are not known"))
        if not set(issue.roles) & set(entries(install["roles"])):
            return Judgement("not_applicable")
    bare = install.get("found") is False  # a database host of its own has neither a version nor a deployment
    if issue.deployments:
        if "deployment" not in install:
            return Judgement("not_applicable") if bare else Judgement("unknown", "how Mastodon is deployed here is not known")
        if install["deployment"] not in issue.deployments:
            return Judgement("not_applicable")
    if issue.versions:
        number = branch(install, "version").get("number")
        if not number:
            return Judgement("not_applicable") if bare else Judgement("unknown", "the version of Mastodon is not known")
        if not all(_in_range(tuple(number), compare, wanted) for compare, wanted in issue.versions):
            return Judgement("not_applicable")
    if issue.asked and not Scope(facts, issue.id).has(issue.asked):
        subset = issue.asked.split(".")[0]
        if branch(facts, "probes", subset).get("state", "skipped") in ("ok", "skipped"):
            return Judgement("not_applicable")
        return Judgement("unknown", why_missing(facts, (subset,), f"{issue.asked} is not among the facts"))
    return None


def _in_range(number: tuple[int, ...], compare: str, wanted: tuple[int, ...]) -> bool:
    # "<4.3" and "==4.3" speak of the digits they name: 4.3.7 is a 4.3.
    return _COMPARE[compare](number[: len(wanted)], wanted)


def why_missing(facts: Facts, subsets: t.Iterable[str], otherwise: str) -> str:
    """The reason a probe gave, of the first of these subsets that did not end well."""
    probes = branch(facts, "probes")
    for subset in subsets:
        probe = probes.get(subset)
        if isinstance(probe, dict) and probe.get("state") != "ok":
            if probe.get("reason"):
                return clean_line(probe["reason"])
            return {
                "timeout": f"{subset}: no answer within the time limit",
                "skipped": f"{subset} was not asked for (gather_subset)",
                "denied": f"{subset}: no permission to read it",
            }.get(str(probe.get("state")), f"{subset} could not be read")
        # The probe ended well, what it looked at does not answer: that is why nothing behind it is known.
        error = branch(facts, subset, "error")
        if error.get("message"):
            return clean_line(f"{subset} does not answer: {error['message']}")
    return clean_line(otherwise)


def evidence(issue: KnownIssue, facts: Facts) -> list[Entry]:
    """What speaks for a finding: the facts the issue names, then the log lines of its signatures."""
    told = named_facts(issue, Scope(facts, issue.id))
    for name in issue.signatures:
        told += _of_signature(f"{issue.id}.{name}", name, branch(facts, "logs", "signatures").get(f"{issue.id}.{name}"))
    return told


def named_facts(issue: KnownIssue, scope: Scope) -> list[Entry]:
    told: list[Entry] = []
    for item in issue.evidence:
        if not scope.has(item.fact):
            continue
        values = [scope.text(item.value, entry) for entry in scope.items(item.each)] if item.each else [scope.text(item.value)]
        values = list(dict.fromkeys(filter(None, map(clean_line, values))))
        told += [{"fact": item.fact, "value": value} for value in values[:_MOST_OF_EACH]]
        if len(values) > _MOST_OF_EACH:
            told.append({"fact": item.fact, "value": f"+ {len(values) - _MOST_OF_EACH}"})
    return told


def _of_signature(key: str, name: str, seen: t.Any) -> list[Entry]:
    if not isinstance(seen, dict) or not seen.get("count"):
        return []
    first, last = _number(seen.get("first_epoch")), _number(seen.get("last_epoch"))
    entry: Entry = {"fact": f"logs.signatures.{key}", "value": f"{name} x{seen['count']}{_span(first, last)}"}
    if first is not None:
        entry["time"] = first
    told = [entry]
    for sample in entries(seen.get("samples"))[:_MOST_SAMPLES]:
        if isinstance(sample, dict) and sample.get("text"):
            source = " ".join(dict.fromkeys(filter(None, (clean_line(sample.get(part) or "", 80) for part in ("origin", "name")))))
            entry = {"source": source or "log", "value": clean_line(sample["text"])}
            time = _number(sample.get("time_epoch"))
            told.append(entry if time is None else {**entry, "time": time})
    return told


def _number(value: t.Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e11 else None


def _span(first: float | None, last: float | None) -> str:
    """ "12:03" or "12:03-12:40 UTC": the zone is named since the hosts of a fleet need not share one."""
    if first is None:
        return ""
    moments = [datetime.datetime.fromtimestamp(moment, datetime.timezone.utc) for moment in (first, last or first)]
    texts = [f"{moment:%H:%M}" for moment in moments]
    return f" {texts[0]} UTC" if texts[0] == texts[1] else f" {texts[0]}-{texts[1]} UTC"
