# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A known issue and the strict reading of its file. Private to this collection.

Every mistake becomes one sentence that names the key and says what is allowed there: users write these files by hand.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.fediops.mastodon.plugins.module_utils._fixes import FIXES, IMPACTS
from ansible_collections.fediops.mastodon.plugins.plugin_utils import _expressions, _patterns
from ansible_collections.fediops.mastodon.plugins.plugin_utils._issue_values import (
    IssueError,
    boolean,
    entries,
    keys,
    one_of,
    quoted,
    string,
)
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

LANGUAGES = ("en", "fr")
SEVERITIES = ("critical", "error", "warning", "advice")
NOISE = "noise"  # seen in logs, and nobody's fault here: never a finding
COMPONENTS = ("web", "sidekiq", "streaming", "database", "redis", "proxy", "disk", "memory", "assets", "media", "environment", "services")
SCOPES = ("host", "fleet")
DEPLOYMENTS = ("systemd", "docker")
ORIGINS = ("web", "sidekiq", "streaming", "proxy", "database", "redis", "pooler", "kernel", "system", "command")

ID = re.compile(r"[a-z][a-z0-9_]{1,63}\Z")
_PATH = re.compile(r"[a-z_]+(\.[a-z0-9_]+)*\Z")
_RANGE = re.compile(r"(>=|<=|==|!=|>|<)\s*(\d{1,4}(?:\.\d{1,4}){0,2})\Z")

Text = dict[str, str]  # by language
Compare = tuple[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    fact: str
    value: str
    each: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Remedy:
    """One of the fixes an issue names; the first whose `when` holds is taken."""

    name: str
    impact: str
    when: str | None
    options: dict[str, str]
    judged: bool  # whether the finding must be gone after it; False: it helps, but not at once or not by itself


@dataclasses.dataclass(frozen=True, slots=True)
class Alone:
    """What log lines prove when there is no server to look at: `when`, or where that is empty, any strong signature or one of `also`."""

    when: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Shared:
    """Of a state in Redis, which every host of an instance sees alike, only hosts of the role `by` tell; `once`: only one of them."""

    by: str
    once: bool


@dataclasses.dataclass(frozen=True, slots=True)
class KnownIssue:
    id: str
    title: Text
    severity: str
    component: str
    versions: tuple[Compare, ...]
    deployments: tuple[str, ...]
    roles: tuple[str, ...]
    asked: str | None  # path of a fact that is only there when somebody asked for it
    signatures: dict[str, dict[str, t.Any]]
    needs: tuple[str, ...]
    when: tuple[str, ...]
    unless: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    explains: dict[str, str | None]  # id -> condition
    advice: Text
    fix: tuple[Remedy, ...]  # empty: there is none, and no_fix says why
    no_fix: Text | None
    sources: tuple[dict[str, str], ...]
    alone: Alone | None = None
    strong: tuple[str, ...] = ()  # signatures that prove it where there are only log lines
    scope: str = "host"
    shared: Shared | None = None

    @property
    def fleet(self) -> bool:
        """Whether its expressions see all hosts of an instance at once."""
        return self.scope == "fleet"

    @property
    def noise(self) -> bool:
        return self.severity == NOISE


def read_issue(data: t.Any, name: str) -> KnownIssue:
    """The known issue of a parsed file called `<name>.yml`."""
    noise = isinstance(data, dict) and data.get("severity") == NOISE
    fleet = isinstance(data, dict) and data.get("scope") == "fleet"
    if fleet:  # no host's log lines decide it, and no host can mend it
        required = ("id", "scope", "title", "severity", "component", "needs", "when", "advice", "fix", "no_fix", "sources")
        keys(data, "", required=required, optional=("applies", "unless", "evidence", "explains"))
        if data["fix"] is not None:
            raise IssueError("fix", "must be null where the scope is fleet: a fix is done on a host")
    elif noise:  # there is nothing to decide, to advise or to mend
        keys(data, "", required=("id", "title", "severity", "component", "signatures", "sources"), optional=("applies",))
    else:
        keys(
            data,
            "",
            required=("id", "title", "severity", "component", "when", "advice", "sources"),
            optional=("applies", "scope", "shared", "signatures", "needs", "unless", "evidence", "explains", "fix", "no_fix", "alone"),
        )
    identifier = string(data["id"], "id")
    if not ID.match(identifier):
        raise IssueError("id", f'"{clean_line(identifier, 80)}" must be lower case letters, digits and underscores')
    if identifier != name:
        raise IssueError("id", f'"{identifier}" must be the file name without .yml, which is "{clean_line(name, 80)}"')
    applies = data.get("applies", {})
    keys(applies, "applies", optional=("mastodon", "deployment", "roles", "asked"))
    fix, no_fix = ((), None) if noise else _fix(data)
    signatures, weak = _signatures(data.get("signatures", {}))
    return KnownIssue(
        id=identifier,
        title=_languages(data["title"], "title"),
        severity=one_of(data["severity"], "severity", (*SEVERITIES, NOISE)),
        component=one_of(data["component"], "component", COMPONENTS),
        versions=_range(applies["mastodon"]) if "mastodon" in applies else (),
        deployments=_choices(applies, "deployment", DEPLOYMENTS),
        roles=_choices(applies, "roles", _expressions.ROLES),
        asked=_path(applies["asked"], "applies.asked") if "asked" in applies else None,
        signatures=signatures,
        needs=tuple(_path(path, f"needs[{number}]") for number, path in enumerate(entries(data.get("needs", []), "needs"))),
        when=() if noise else _conditions(data["when"], "when"),
        unless=_conditions(data["unless"], "unless") if "unless" in data else (),
        evidence=_evidence(data.get("evidence", [])),
        explains=_explains(data.get("explains", [])),
        advice={} if noise else _languages(data["advice"], "advice"),
        fix=fix,
        no_fix=no_fix,
        sources=_sources(data["sources"]),
        alone=_alone(data["alone"]) if "alone" in data else None,
        strong=tuple(name for name in signatures if name not in weak),
        scope=one_of(data.get("scope", "host"), "scope", SCOPES),
        shared=_shared(data["shared"]) if "shared" in data else None,
    )


def check_expressions(issue: KnownIssue, signatures: t.Container[str]) -> None:
    """Second pass, when the signatures of the whole catalogue are known."""
    sources: list[tuple[str, str, bool, bool]] = [
        (f"{key}.{language}", text, True, False)
        for key, texts in (("title", issue.title), ("advice", issue.advice), ("no_fix", issue.no_fix or {}))
        for language, text in texts.items()
    ]
    sources += [(f"when[{number}]", text, False, False) for number, text in enumerate(issue.when)]
    sources += [(f"unless[{number}]", text, False, False) for number, text in enumerate(issue.unless)]
    if issue.alone:
        for key in ("when", "also", "unless"):
            sources += [(f"alone.{key}[{number}]", text, False, False) for number, text in enumerate(getattr(issue.alone, key))]
    for number, evidence in enumerate(issue.evidence):
        sources.append((f"evidence[{number}].value", evidence.value, True, evidence.each is not None))
        if evidence.each is not None:
            sources.append((f"evidence[{number}].each", evidence.each, False, False))
    for number, remedy in enumerate(issue.fix):
        key = "fix" if len(issue.fix) == 1 else f"fix[{number}]"
        sources += [(f"{key}.options.{name}", text, True, False) for name, text in remedy.options.items()]
        if remedy.when is not None:
            sources.append((f"{key}.when", remedy.when, False, False))
    sources += [(f"explains.{target}.when", text, False, issue.fleet) for target, text in issue.explains.items() if text is not None]
    for key, source, text, item in sources:
        try:
            _expressions.check(source, text=text, item=item, signatures=signatures, issue=issue.id, fleet=issue.fleet)
        except _expressions.ExpressionError as error:
            raise IssueError(key, str(error)) from None


def _choices(data: dict[str, t.Any], name: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    if name not in data:
        return ()
    key = f"applies.{name}"
    return tuple(one_of(value, f"{key}[{number}]", choices) for number, value in enumerate(entries(data[name], key)))


def _languages(value: t.Any, key: str) -> Text:
    keys(value, key, required=LANGUAGES)
    return {language: string(value[language], f"{key}.{language}").strip() for language in LANGUAGES}


def _range(value: t.Any) -> tuple[Compare, ...]:
    parts = []
    for part in string(value, "applies.mastodon").split(","):
        match = _RANGE.match(part.strip())
        if not match:
            raise IssueError("applies.mastodon", f'{quoted(value)} is not a range of versions such as ">=3.5" or ">=4.0,<4.3"')
        parts.append((match[1], tuple(int(number) for number in match[2].split("."))))
    return tuple(parts)


def _path(value: t.Any, key: str) -> str:
    path = string(value, key)
    if not _PATH.match(path) or path.split(".")[0] not in _expressions.FACT_NAMES:
        raise IssueError(key, f'{quoted(path)} is not the path of a fact such as "database.schema"')
    return path


def _conditions(value: t.Any, key: str) -> tuple[str, ...]:
    values = entries(value, key) if isinstance(value, list) else [value]
    if not values:
        raise IssueError(key, "has no expression")
    return tuple(_condition(expression, f"{key}[{number}]") for number, expression in enumerate(values))


def _condition(value: t.Any, key: str) -> str:
    if isinstance(value, str) and "{{" in value:
        raise IssueError(key, "is an expression already; leave out the {{ }}")
    return string(value, key)


def _signatures(data: t.Any) -> tuple[dict[str, dict[str, t.Any]], set[str]]:
    """What to look for, and the names of the signatures that prove nothing by themselves."""
    if not isinstance(data, dict):
        raise IssueError("signatures", "must be a mapping of names to {in, match}")
    result, weak = {}, set()
    for name, signature in data.items():
        key = f"signatures.{clean_line(name, 80)}"
        if not isinstance(name, str) or not ID.match(name):
            raise IssueError(key, "a signature's name must be lower case letters, digits and underscores")
        keys(signature, key, required=("in", "match"), optional=("weak",))
        origins = [one_of(origin, f"{key}.in[{number}]", ORIGINS) for number, origin in enumerate(entries(signature["in"], f"{key}.in"))]
        if not origins:
            raise IssueError(f"{key}.in", f"names no origin; allowed are {', '.join(ORIGINS)}")
        match = string(signature["match"], f"{key}.match")
        reason = _patterns.problem(match)
        if reason:
            raise IssueError(f"{key}.match", reason)
        result[name] = {"in": origins, "match": match, "literals": _patterns.literals(match)}
        if boolean(signature.get("weak", False), f"{key}.weak"):
            weak.add(name)
    return result, weak


def _shared(data: t.Any) -> Shared:
    keys(data, "shared", required=("by",), optional=("once",))
    return Shared(one_of(data["by"], "shared.by", ("sidekiq", "redis")), boolean(data.get("once", False), "shared.once"))


def _alone(data: t.Any) -> Alone:
    keys(data, "alone", optional=("when", "also", "unless"))
    if "when" in data and "also" in data:
        raise IssueError("alone", "has either when, in the place of the signatures, or also, beside them")
    return Alone(**{key: _conditions(value, f"alone.{key}") for key, value in data.items()})


def _evidence(value: t.Any) -> tuple[Evidence, ...]:
    result = []
    for number, entry in enumerate(entries(value, "evidence")):
        key = f"evidence[{number}]"
        keys(entry, key, required=("fact", "value"), optional=("each",))
        each = string(entry["each"], f"{key}.each") if "each" in entry else None
        result.append(Evidence(fact=_path(entry["fact"], f"{key}.fact"), value=string(entry["value"], f"{key}.value"), each=each))
    return tuple(result)


def _explains(value: t.Any) -> dict[str, str | None]:
    result: dict[str, str | None] = {}
    for number, entry in enumerate(entries(value, "explains")):
        key, condition = f"explains[{number}]", None
        if isinstance(entry, dict):
            keys(entry, key, required=("id", "when"))
            condition, entry = string(entry["when"], f"{key}.when"), entry["id"]
        target = string(entry, key)
        if target in result:
            raise IssueError(key, f"{quoted(target)} is listed twice")
        result[target] = condition
    return result


def _fix(data: dict[str, t.Any]) -> tuple[tuple[Remedy, ...], Text | None]:
    fix = data.get("fix")
    if fix is None:
        if "no_fix" not in data:
            raise IssueError("fix", "is missing; name a fix, or write fix: null and the reason in no_fix")
        return (), _languages(data["no_fix"], "no_fix")
    if isinstance(fix, list):
        remedies = tuple(_remedy(entry, f"fix[{number}]") for number, entry in enumerate(entries(fix, "fix")))
    else:
        remedies = (_remedy(fix, "fix"),)
    if not remedies:
        raise IssueError("fix", "is empty; name a fix, or write fix: null and the reason in no_fix")
    for number, remedy in enumerate(remedies[:-1]):
        if remedy.when is None:
            raise IssueError(f"fix[{number}].when", "is missing, so the alternatives after it would never be taken")
    if remedies[-1].when is None:
        if "no_fix" in data:
            raise IssueError("no_fix", "contradicts fix, of which one alternative always holds; keep one of them")
        return remedies, None
    if "no_fix" not in data:
        raise IssueError("no_fix", "is missing; every alternative of fix has a when, so say why there is no fix when none holds")
    return remedies, _languages(data["no_fix"], "no_fix")


def _remedy(data: t.Any, key: str) -> Remedy:
    keys(data, key, required=("name", "impact"), optional=("when", "options", "judged"))
    name = one_of(data["name"], f"{key}.name", tuple(sorted(FIXES)))
    impact = one_of(data["impact"], f"{key}.impact", IMPACTS)
    if IMPACTS.index(impact) > IMPACTS.index(FIXES[name].impact):
        raise IssueError(f"{key}.impact", f'"{impact}" is more than {name} does at most, which is "{FIXES[name].impact}"')
    options = data.get("options", {})
    if not isinstance(options, dict):
        raise IssueError(f"{key}.options", "must be a mapping of names to texts")
    for option in options:
        if not isinstance(option, str) or not ID.match(option):
            raise IssueError(
                f"{key}.options.{clean_line(option, 80)}", "an option's name must be lower case letters, digits and underscores"
            )
    return Remedy(
        name=name,
        impact=impact,
        when=_condition(data["when"], f"{key}.when") if "when" in data else None,
        options={option: string(value, f"{key}.options.{option}") for option, value in options.items()},
        judged=boolean(data.get("judged", True), f"{key}.judged"),
    )


def _sources(value: t.Any) -> tuple[dict[str, str], ...]:
    result = []
    for number, entry in enumerate(entries(value, "sources")):
        key = f"sources[{number}]"
        keys(entry, key, required=("title", "url"))
        url = string(entry["url"], f"{key}.url")
        if not re.match(r"https://[a-z0-9.-]+(?:/[^\s\"'<>\\]*)?\Z", url):
            raise IssueError(f"{key}.url", f"{quoted(url)} is not an https address")
        result.append({"title": string(entry["title"], f"{key}.title"), "url": url})
    if not result:
        raise IssueError("sources", "is empty; name where this is documented")
    return tuple(result)
