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
_MOST_ENTRIES = 50
_MOST_CHARACTERS = 4000

Text = dict[str, str]  # by language
Compare = tuple[str, tuple[int, ...]]


class IssueError(ValueError):
    """What is wrong with a known issue: the key, and the reason."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f'key "{key}": {reason}')


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
        _keys(data, "", required=required, optional=("applies", "unless", "evidence", "explains"))
        if data["fix"] is not None:
            raise IssueError("fix", "must be null where the scope is fleet: a fix is done on a host")
    elif noise:  # there is nothing to decide, to advise or to mend
        _keys(data, "", required=("id", "title", "severity", "component", "signatures", "sources"), optional=("applies",))
    else:
        _keys(
            data,
            "",
            required=("id", "title", "severity", "component", "when", "advice", "sources"),
            optional=("applies", "scope", "shared", "signatures", "needs", "unless", "evidence", "explains", "fix", "no_fix", "alone"),
        )
    identifier = _string(data["id"], "id")
    if not ID.match(identifier):
        raise IssueError("id", f'"{clean_line(identifier, 80)}" must be lower case letters, digits and underscores')
    if identifier != name:
        raise IssueError("id", f'"{identifier}" must be the file name without .yml, which is "{clean_line(name, 80)}"')
    applies = data.get("applies", {})
    _keys(applies, "applies", optional=("mastodon", "deployment", "roles", "asked"))
    fix, no_fix = ((), None) if noise else _fix(data)
    signatures, weak = _signatures(data.get("signatures", {}))
    return KnownIssue(
        id=identifier,
        title=_languages(data["title"], "title"),
        severity=_one_of(data["severity"], "severity", (*SEVERITIES, NOISE)),
        component=_one_of(data["component"], "component", COMPONENTS),
        versions=_range(applies["mastodon"]) if "mastodon" in applies else (),
        deployments=_choices(applies, "deployment", DEPLOYMENTS),
        roles=_choices(applies, "roles", _expressions.ROLES),
        asked=_path(applies["asked"], "applies.asked") if "asked" in applies else None,
        signatures=signatures,
        needs=tuple(_path(path, f"needs[{number}]") for number, path in enumerate(_list(data.get("needs", []), "needs"))),
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
        scope=_one_of(data.get("scope", "host"), "scope", SCOPES),
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


def _quoted(value: t.Any) -> str:
    return f'"{clean_line(value, 80)}"'


def _keys(data: t.Any, key: str, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    if not isinstance(data, dict):
        raise IssueError(key or "(whole file)", f"must be a mapping of {', '.join(required + optional)}")
    allowed, prefix = required + optional, f"{key}." if key else ""
    for name in data:
        if name not in allowed:
            raise IssueError(f"{prefix}{clean_line(name, 80)}", f"is not a known key; allowed are {', '.join(allowed)}")
    for name in required:
        if name not in data:
            raise IssueError(f"{prefix}{name}", "is missing")


def _string(value: t.Any, key: str) -> str:
    if not isinstance(value, str):
        raise IssueError(key, f"must be text, not {_quoted(value)}; quote it")
    if not value.strip():
        raise IssueError(key, "is empty")
    if len(value) > _MOST_CHARACTERS:
        raise IssueError(key, f"is longer than {_MOST_CHARACTERS} characters")
    return value


def _list(value: t.Any, key: str) -> list[t.Any]:
    if not isinstance(value, list):
        raise IssueError(key, f"must be a list, not {_quoted(value)}")
    if len(value) > _MOST_ENTRIES:
        raise IssueError(key, f"has more than {_MOST_ENTRIES} entries")
    return value


def _one_of(value: t.Any, key: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise IssueError(key, f"{_quoted(value)} is not one of {', '.join(choices)}")
    return value


def _boolean(value: t.Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise IssueError(key, f"must be true or false, not {_quoted(value)}")
    return value


def _choices(data: dict[str, t.Any], name: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    if name not in data:
        return ()
    key = f"applies.{name}"
    return tuple(_one_of(value, f"{key}[{number}]", choices) for number, value in enumerate(_list(data[name], key)))


def _languages(value: t.Any, key: str) -> Text:
    _keys(value, key, required=LANGUAGES)
    return {language: _string(value[language], f"{key}.{language}").strip() for language in LANGUAGES}


def _range(value: t.Any) -> tuple[Compare, ...]:
    parts = []
    for part in _string(value, "applies.mastodon").split(","):
        match = _RANGE.match(part.strip())
        if not match:
            raise IssueError("applies.mastodon", f'{_quoted(value)} is not a range of versions such as ">=3.5" or ">=4.0,<4.3"')
        parts.append((match[1], tuple(int(number) for number in match[2].split("."))))
    return tuple(parts)


def _path(value: t.Any, key: str) -> str:
    path = _string(value, key)
    if not _PATH.match(path) or path.split(".")[0] not in _expressions.FACT_NAMES:
        raise IssueError(key, f'{_quoted(path)} is not the path of a fact such as "database.schema"')
    return path


def _conditions(value: t.Any, key: str) -> tuple[str, ...]:
    values = _list(value, key) if isinstance(value, list) else [value]
    if not values:
        raise IssueError(key, "has no expression")
    return tuple(_condition(expression, f"{key}[{number}]") for number, expression in enumerate(values))


def _condition(value: t.Any, key: str) -> str:
    if isinstance(value, str) and "{{" in value:
        raise IssueError(key, "is an expression already; leave out the {{ }}")
    return _string(value, key)


def _signatures(data: t.Any) -> tuple[dict[str, dict[str, t.Any]], set[str]]:
    """What to look for, and the names of the signatures that prove nothing by themselves."""
    if not isinstance(data, dict):
        raise IssueError("signatures", "must be a mapping of names to {in, match}")
    result, weak = {}, set()
    for name, signature in data.items():
        key = f"signatures.{clean_line(name, 80)}"
        if not isinstance(name, str) or not ID.match(name):
            raise IssueError(key, "a signature's name must be lower case letters, digits and underscores")
        _keys(signature, key, required=("in", "match"), optional=("weak",))
        origins = [_one_of(origin, f"{key}.in[{number}]", ORIGINS) for number, origin in enumerate(_list(signature["in"], f"{key}.in"))]
        if not origins:
            raise IssueError(f"{key}.in", f"names no origin; allowed are {', '.join(ORIGINS)}")
        match = _string(signature["match"], f"{key}.match")
        reason = _patterns.problem(match)
        if reason:
            raise IssueError(f"{key}.match", reason)
        result[name] = {"in": origins, "match": match, "literals": _patterns.literals(match)}
        if _boolean(signature.get("weak", False), f"{key}.weak"):
            weak.add(name)
    return result, weak


def _shared(data: t.Any) -> Shared:
    _keys(data, "shared", required=("by",), optional=("once",))
    return Shared(_one_of(data["by"], "shared.by", ("sidekiq", "redis")), _boolean(data.get("once", False), "shared.once"))


def _alone(data: t.Any) -> Alone:
    _keys(data, "alone", optional=("when", "also", "unless"))
    if "when" in data and "also" in data:
        raise IssueError("alone", "has either when, in the place of the signatures, or also, beside them")
    return Alone(**{key: _conditions(value, f"alone.{key}") for key, value in data.items()})


def _evidence(value: t.Any) -> tuple[Evidence, ...]:
    result = []
    for number, entry in enumerate(_list(value, "evidence")):
        key = f"evidence[{number}]"
        _keys(entry, key, required=("fact", "value"), optional=("each",))
        each = _string(entry["each"], f"{key}.each") if "each" in entry else None
        result.append(Evidence(fact=_path(entry["fact"], f"{key}.fact"), value=_string(entry["value"], f"{key}.value"), each=each))
    return tuple(result)


def _explains(value: t.Any) -> dict[str, str | None]:
    result: dict[str, str | None] = {}
    for number, entry in enumerate(_list(value, "explains")):
        key, condition = f"explains[{number}]", None
        if isinstance(entry, dict):
            _keys(entry, key, required=("id", "when"))
            condition, entry = _string(entry["when"], f"{key}.when"), entry["id"]
        target = _string(entry, key)
        if target in result:
            raise IssueError(key, f"{_quoted(target)} is listed twice")
        result[target] = condition
    return result


def _fix(data: dict[str, t.Any]) -> tuple[tuple[Remedy, ...], Text | None]:
    fix = data.get("fix")
    if fix is None:
        if "no_fix" not in data:
            raise IssueError("fix", "is missing; name a fix, or write fix: null and the reason in no_fix")
        return (), _languages(data["no_fix"], "no_fix")
    if isinstance(fix, list):
        remedies = tuple(_remedy(entry, f"fix[{number}]") for number, entry in enumerate(_list(fix, "fix")))
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
    _keys(data, key, required=("name", "impact"), optional=("when", "options", "judged"))
    name = _one_of(data["name"], f"{key}.name", tuple(sorted(FIXES)))
    impact = _one_of(data["impact"], f"{key}.impact", IMPACTS)
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
        options={option: _string(value, f"{key}.options.{option}") for option, value in options.items()},
        judged=_boolean(data.get("judged", True), f"{key}.judged"),
    )


def _sources(value: t.Any) -> tuple[dict[str, str], ...]:
    result = []
    for number, entry in enumerate(_list(value, "sources")):
        key = f"sources[{number}]"
        _keys(entry, key, required=("title", "url"))
        url = _string(entry["url"], f"{key}.url")
        if not re.match(r"https://[a-z0-9.-]+(?:/[^\s\"'<>\\]*)?\Z", url):
            raise IssueError(f"{key}.url", f"{_quoted(url)} is not an https address")
        result.append({"title": _string(entry["title"], f"{key}.title"), "url": url})
    if not result:
        raise IssueError("sources", "is empty; name where this is documented")
    return tuple(result)
