# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis as Markdown to paste into an issue or a chat. Private to this collection.

Log lines and names in it come from strangers. They may not make links, mentions, images, HTML or end a block of code.
"""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import acts, commands, view
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, clean_text

_SPECIAL = re.compile(r"([\\`*_{}\[\]#!|~>$])")
_MOST_HOSTS = 50
_MOST_EVIDENCE = 10


def escape(value: object) -> str:
    """Text that shows as it is. A word joiner after @ and # stops mentions and references, which no backslash does on every forge."""
    line = clean_line(value, 1000).replace("&", "&amp;").replace("<", "&lt;")
    line = _SPECIAL.sub(r"\\\1", line)
    # Forges turn bare addresses and names into links by themselves; a zero-width mark in the middle is not seen and stops that.
    return re.sub(r"(@|\\#|www|ttps?|ftp|GH)", "\\1\u2060", line)


def code(value: object) -> str:
    """Inline code. Backticks in it are replaced, so that nothing can end it early; an empty value has no code to show."""
    line = clean_line(value, 1000).replace("`", "´")
    return f"`{line}`" if line else ""


def block(value: str) -> str:
    """Several lines, indented below a list entry. The fence is longer than any row of backticks inside."""
    content = clean_text(value)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", content)), default=0))
    return "\n".join(f"  {line}".rstrip() for line in (f"{fence}text", *content.split("\n"), fence))


def render(diagnosis: view.Diagnosis, language: str = "en") -> str:
    run = diagnosis["run"]
    made = text("made", language, when=run["started"], what=f"fediops.mastodon {run['collection']}")
    lines = [f"# {text('page_title', language)}: {text(diagnosis['verdict'], language)}", "", made, ""]
    for name, whole in view.wholes(diagnosis):
        lines += _host(name, whole, language, run)
    shown = 0
    quiet = 0
    for name, host in view.hosts_worst_first(diagnosis):
        if shown >= _MOST_HOSTS or (host["verdict"] == "clear" and not view.was_worked_on(host) and len(diagnosis["hosts"]) > 5):
            quiet += 1
            continue
        shown += 1
        lines += _host(name, host, language, run)
    if quiet:
        lines += [f"*{text('and_more', language, n=quiet)}*", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _host(name: str, host: view.Host, language: str, run: commands.Run) -> list[str]:
    told = " — ".join(filter(None, (text(host["verdict"], language), view.summary_of(host, language))))
    lines = [f"## {code(name)}: {told}", ""]
    if host.get("recorded"):
        lines += [f"*{text('recorded', language)}*", ""]
    lines += _acts(name, host, language, run)
    for finding in [*view.roots(host), *view.elsewhere(host)]:
        lines += _finding(finding, language, acts.command(name, host, finding, run))
    for entry in host["unknown"]:
        label = text("could_not_look", language) if entry["id"] == "host" else f"{text('unknown', language)} {code(entry['id'])}"
        lines.append(f"- **?** {label}: {escape(entry['reason'])}")
    lines += [f"- **?** {text('partly_read', language)}: {escape(line)}" for line in view.partly(host)]
    errors = view.errors_of(host)
    lines += [f"- **?** {text('unclassified', language)}: {code(line)}" for line in errors[:_MOST_EVIDENCE]]
    if len(errors) > _MOST_EVIDENCE:
        lines.append(f"- {text('and_more', language, n=len(errors) - _MOST_EVIDENCE)}")
    lines += [f"- {text('noise_heading', language)}: {escape(entry['title'][language])}" for entry in host.get("noise", ())]
    for entry in host["waived"]:
        lines.append(
            f"- {text('waived', language)} {code(entry['id'])}: {escape(entry['reason'])} ({text('until', language)} {entry['until']})"
        )
    if lines[-1]:
        lines.append("")
    return lines


def _acts(name: str, host: view.Host, language: str, run: commands.Run) -> list[str]:
    lines = []
    for act in acts.acts(name, host, run):
        lines.append(f"- **{text(f'act_{act.state}', language)}** {code(act.what)}" + (": " if act.why[language] else ""))
        lines[-1] += escape(act.why[language])
        for word, told in act.details:
            lines.append(f"  - {text(word, language)}:")
            lines += [f"    - {code(line)}" for line in told[:_MOST_EVIDENCE]]
            if len(told) > _MOST_EVIDENCE:
                lines.append(f"    - {text('and_more', language, n=len(told) - _MOST_EVIDENCE)}")
    for note in acts.notes(name, host, run):
        lines.append(f"- {escape(note.text[language])}" + (f" {code(note.command)}" if note.command else ""))
    return [f"### {text('remediation', language)}", "", *lines, ""] if lines else []


def _finding(finding: view.Finding, language: str, command: str) -> list[str]:
    lines = [f"- **{text(finding['severity'], language)}** {code(finding['id'])}: {escape(finding['title'][language])}"]
    entries = finding["evidence"]
    if entries:
        lines.append(f"  - {text('because', language)}:")
        lines += [f"    - {code(entry['value'])}" for entry in entries[:_MOST_EVIDENCE]]
        if len(entries) > _MOST_EVIDENCE:
            lines.append(f"    - {text('and_more', language, n=len(entries) - _MOST_EVIDENCE)}")
    if finding["explained_by"]:
        return [*lines, f"  - {text('caused_by', language)}: {code(finding['explained_by'])}"]
    if finding["explains"]:
        lines.append(f"  - {text('explains', language)}: {', '.join(code(other) for other in finding['explains'][:20])}")
    lines.append(f"  - {text('fix', language)}:")
    lines += ["", block(finding["advice"][language]), ""]
    for key in ("no_fix", "note"):
        if key in finding:
            lines += [f"  {escape(finding[key][language])}", ""]
    if command:
        lines += [f"  {text('automatic', language)}: {code(command)}", ""]
    lines += [f"  [{escape(source['title'])}](<{source['url']}>)" for source in finding["sources"]]
    return [*lines, ""]
