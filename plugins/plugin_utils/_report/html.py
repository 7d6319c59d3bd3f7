# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis as one HTML file that needs no network and no JavaScript. Private to this collection.

Everything shown is escaped by autoescape. The page's own style and script are allowed by their hashes alone, so that even text that
escaped escaping could not run.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import pathlib
import typing as t

import jinja2
import markupsafe

from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import COMPONENTS
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import acts, view
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import LANGUAGES, count, headline, text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, clean_text

_HERE = pathlib.Path(__file__).resolve().parent
OPEN_UP_TO = 8  # with more hosts than this their sections start folded
_MOST_NAMES = 12


def render(diagnosis: view.Diagnosis, language: str = "en") -> str:
    style, script = _asset("page.css"), _asset("page.js")
    hosts = [_host(number, name, host, diagnosis) for number, (name, host) in enumerate(view.hosts_worst_first(diagnosis))]
    wholes = [_host(len(hosts) + number, name, whole, diagnosis) for number, (name, whole) in enumerate(view.wholes(diagnosis))]
    return _template().render(
        language=language,
        style=markupsafe.Markup(style),  # noqa: S704  our own files, allowed by hash
        script=markupsafe.Markup(script),  # noqa: S704
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'",
        run=diagnosis["run"],
        verdict=diagnosis["verdict"],
        headline={other: _headline(diagnosis, hosts, other) for other in LANGUAGES},
        hosts=hosts,
        sections=[*wholes, *hosts],
        totals=[(verdict, sum(1 for host in hosts if host["verdict"] == verdict)) for verdict in _totalled(hosts)],
        causes=_causes([*wholes, *hosts]),
        columns=_columns(hosts, diagnosis),
        open_all=len(hosts) <= OPEN_UP_TO,
    )


def _totalled(hosts: list[dict[str, t.Any]]) -> list[str]:
    """Only log lines alone can end as unclassified: a total of none of them would be a riddle to everybody else."""
    return [verdict for verdict in view.VERDICTS if verdict != "unclassified" or any(host["verdict"] == verdict for host in hosts)]


@functools.cache
def _asset(name: str) -> str:
    return "\n" + (_HERE / name).read_text(encoding="utf-8").strip() + "\n"


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


@functools.cache
def _template() -> jinja2.Template:
    env = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=jinja2.FileSystemLoader(_HERE)
    )
    env.globals.update(word=_word, counted=_counted, both=_both, attributes=_attributes, text=text)
    env.filters.update(line=clean_line, lines=clean_text, utc=_utc, breakable=_breakable)
    return env.get_template("page.html.j2")


def _both(texts: dict[str, str], clean: t.Callable[[object], str] = clean_text) -> markupsafe.Markup:
    """A text in both languages; the style sheet shows the one of the page. Written once when they are the same."""
    shown = {language: clean(texts[language]) for language in LANGUAGES}
    if len(set(shown.values())) == 1:
        return markupsafe.escape(shown[LANGUAGES[0]])
    return markupsafe.Markup("").join(
        markupsafe.Markup('<span lang="{}">{}</span>').format(language, content) for language, content in shown.items()
    )


@functools.lru_cache(maxsize=2048)
def _word(key: str, **values: t.Any) -> markupsafe.Markup:
    return _both({language: text(key, language, **values) for language in LANGUAGES})


@functools.lru_cache(maxsize=2048)
def _counted(one: str, many: str, number: int) -> markupsafe.Markup:
    return _both({language: count(one, many, number, language) for language in LANGUAGES})


@functools.lru_cache(maxsize=256)
def _attributes(name: str, key: str, language: str) -> markupsafe.Markup:
    """An attribute that people read, and both its languages for the switch."""
    pairs = [(name, text(key, language)), *((f"data-{name}-{other}", text(key, other)) for other in LANGUAGES)]
    return markupsafe.Markup(" ").join(markupsafe.Markup('{}="{}"').format(key_, value) for key_, value in pairs)


def _breakable(value: object) -> markupsafe.Markup:
    """A long dotted name that may be broken after its dots rather than anywhere."""
    return markupsafe.Markup(".<wbr>").join(clean_line(value).split("."))


def _headline(diagnosis: view.Diagnosis, hosts: list[dict[str, t.Any]], language: str) -> str:
    verdict = diagnosis["verdict"]
    return headline(verdict, sum(1 for host in hosts if host["verdict"] == verdict), len(hosts), language)


def _utc(epoch: float) -> str:
    return f"{datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def _host(number: int, name: str, host: view.Host, diagnosis: view.Diagnosis) -> dict[str, t.Any]:
    tops = [*view.roots(host), *view.elsewhere(host)]
    below = {finding["id"]: finding for finding in view.symptoms(host)}
    shown: set[str] = {finding["id"] for finding in tops}
    cards = []
    for finding in tops:
        # A symptom stands under the first cause that explains it; a later cause names it only.
        under = [below[name_] for name_ in finding["explains"] if name_ in below and name_ not in shown]
        shown |= {finding_["id"] for finding_ in under}
        cards.append(
            {
                "finding": finding,
                "symptoms": under,
                "remote": [name_ for name_ in finding["explains"] if "/" in name_],
                "command": acts.command(name, host, finding, diagnosis["run"]),
            }
        )
    return {
        "anchor": f"h{number}",
        "name": clean_line(name, 120),
        "verdict": host["verdict"],
        "summary": _both({language: view.summary_of(host, language) for language in LANGUAGES}),
        "cards": cards,
        "acts": acts.acts(name, host, diagnosis["run"]),
        "notes": acts.notes(name, host, diagnosis["run"]),
        "worked_on": view.was_worked_on(host),
        "unknown": _by_reason(host),
        "unseen": view.not_seen(host),
        "waived": host["waived"],
        "errors": view.errors_of(host),
        "noise": host.get("noise", []),
        "probes": host["probes"],
        "seconds": host.get("seconds"),
        "recorded": bool(host.get("recorded")),
        "cells": {component: view.cell(host, component, diagnosis["known_issues"]) for component in COMPONENTS},
    }


def _by_reason(host: view.Host) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for entry in host["unknown"]:
        if entry["id"] != "host":
            reasons.setdefault(entry["reason"], []).append(entry["id"])
    return reasons


def _causes(hosts: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """Root causes over the fleet, the worst and most frequent first: what 500 servers have in common is seen at once."""
    causes: dict[str, dict[str, t.Any]] = {}
    for host in hosts:
        for card in host["cards"]:
            finding = card["finding"]
            if finding["rank"] == 1:
                cause = causes.setdefault(finding["id"], {"finding": finding, "hosts": [], "titles": []})
                cause["hosts"].append(host)
                if finding["title"] not in cause["titles"]:
                    cause["titles"].append(finding["title"])  # titles hold facts, so they may differ from host to host
    ordered = sorted(
        causes.values(),
        key=lambda cause: (view.SEVERITIES.index(cause["finding"]["severity"]), -len(cause["hosts"]), cause["finding"]["id"]),
    )
    return [{**cause, "named": cause["hosts"][:_MOST_NAMES], "more": len(cause["hosts"]) - _MOST_NAMES} for cause in ordered]


def _columns(hosts: list[dict[str, t.Any]], diagnosis: view.Diagnosis) -> list[str]:
    """Components any known issue speaks of: an empty column tells nobody anything."""
    known = {issue["component"] for issue in diagnosis["known_issues"].values()}
    used = {component for host in hosts for component, (state, _number) in host["cells"].items() if state not in ("none", "unknown")}
    return [component for component in COMPONENTS if component in known | used]
