# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The diagnosis as the terminal shows it: host by host, cause first. Private to this collection."""

from __future__ import annotations

import re
import textwrap
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils._report import acts, commands, view
from ansible_collections.fediops.mastodon.plugins.plugin_utils._report.texts import count, text
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, clean_text

SHOW_ALL_HOSTS = 20  # above this, hosts without a finding are only counted
_COLOURS = {
    "faults": "1;31",
    "critical": "1;31",
    "error": "31",
    "warning": "33",
    "incomplete": "35",
    "unclassified": "33",
    "unknown": "35",
    "advice": "36",
    "clear": "32",
    "dim": "2",
    "bold": "1",
}
_SIGNS = {"kept": "+", "undone": "x", "failed": "x", "escalated": "x", "planned": ">"}
_LABEL = 10  # width of "because", "explains", …
_MOST_EXPLAINED = 12
_MOST_EVIDENCE = 8


def render(diagnosis: view.Diagnosis, *, language: str = "en", width: int = 100, colour: bool = False, where: str = "") -> str:
    """The whole text, ending with where the report lies."""
    page = Page(language, max(60, min(width, 160)), colour, diagnosis["run"])
    hosts = diagnosis["hosts"]
    quiet = (
        [name for name, host in hosts.items() if host["verdict"] == "clear" and not view.was_worked_on(host)]
        if len(hosts) > SHOW_ALL_HOSTS
        else []
    )
    page.names = max((len(clean_line(name, 40)) for name in hosts), default=0)
    for name, host in hosts.items():
        if name not in quiet:
            page.host(name, host)
    if quiet:
        page.line(
            page.paint("clear", text("clear", language).upper()) + "  " + count("clear_hosts_one", "clear_hosts_many", len(quiet), language)
        )
    for name, whole in view.wholes(diagnosis):
        page.host(name, whole)
    if where:
        page.line("")
        page.line(text("report_in", language, where=clean_line(where)))
    return "\n".join(page.lines)


class Page:
    def __init__(self, language: str, width: int, colour: bool, run: commands.Run) -> None:
        self.language, self.width, self.colour, self.run = language, width, colour, run
        self.lines: list[str] = []
        self.names = 0

    def line(self, content: str) -> None:
        self.lines.append(content.rstrip())

    def paint(self, name: str, content: str) -> str:
        return f"\x1b[{_COLOURS[name]}m{content}\x1b[0m" if self.colour else content

    def label(self, key: str) -> str:
        return text(key, self.language)

    def host(self, name: str, host: view.Host) -> None:
        verdict = self.label(host["verdict"]).upper()
        head = f"{self.paint('bold', clean_line(name, 40).ljust(self.names))}  {self.paint(host['verdict'], verdict)}"
        facts = [view.summary_of(host, self.language)] + ([f"[{self.label('recorded')}]"] if host.get("recorded") else [])
        head += "  " + "  ".join(filter(None, facts)) if any(facts) else ""
        seconds = f"{host['seconds']:.1f} s" if "seconds" in host and not host.get("recorded") else ""
        space = self.width - len(re.sub(r"\x1b\[[0-9;]*m", "", head)) - len(seconds)
        self.line(head + (" " * max(2, space) + self.paint("dim", seconds) if seconds else ""))
        shown = [*view.roots(host), *view.elsewhere(host)]
        width = max((len(finding["id"]) for finding in shown), default=0)
        self.acts(name, host)
        for finding in shown:
            command = acts.command(name, host, finding, self.run)
            self.finding(finding, width, {effect["id"]: effect for effect in host["findings"]}, command)
        for entry in host["unknown"]:
            if entry["id"] == "host":
                self.wrapped(f"  {self.paint('unknown', '?')} ", 4, f"{self.label('could_not_look')}: {entry['reason']}")
        self.unknown([entry for entry in host["unknown"] if entry["id"] != "host"])
        for line in view.partly(host):
            label = self.label("partly_read")
            self.wrapped(f"  {self.paint('unknown', f'? {label}')}   ", 4 + len(label) + 3, line)
        errors = view.errors_of(host)
        for line in errors[:_MOST_EVIDENCE]:
            label = self.label("unclassified")
            self.wrapped(f"  {self.paint('unclassified', f'? {label}')}   ", 4 + len(label) + 3, line)
        if len(errors) > _MOST_EVIDENCE:
            self.line("    " + text("and_more", self.language, n=len(errors) - _MOST_EVIDENCE))
        for entry in host["waived"]:
            told = f"{entry['id']}  {entry['reason']} ({self.label('until')} {entry['until']})"
            self.wrapped(f"  - {self.label('waived')}  ", 4 + len(self.label("waived")) + 2, told)

    def acts(self, name: str, host: view.Host) -> None:
        """What was planned, done, undone, or not allowed."""
        for act in acts.acts(name, host, self.run):
            label = f"{_SIGNS.get(act.state, '-')} {self.label(f'act_{act.state}')}"
            colour = "faults" if act.state in acts.BAD else "clear" if act.state == "kept" else "advice"
            self.wrapped(f"  {self.paint(colour, label)}  ", 4 + len(label), act.what)
            if act.why[self.language]:
                self.field("because", act.why[self.language])
            for word, lines in act.details:
                if word == "act_allow":
                    self.field(word, "")
                    self.command(lines[0])
                    continue
                more = [text("and_more", self.language, n=len(lines) - _MOST_EVIDENCE)] if len(lines) > _MOST_EVIDENCE else []
                self.field(word, " · ".join([*lines[:_MOST_EVIDENCE], *more]))
        for note in acts.notes(name, host, self.run):
            self.wrapped("  > ", 4, note.text[self.language])
            if note.command:
                self.command(note.command)

    def finding(self, finding: view.Finding, width: int, here: dict[str, view.Finding], command: str) -> None:
        severity = finding["severity"]
        sign = "!" if severity == "advice" else "x"
        name = self.paint("bold", finding["id"]) + " " * (width - len(finding["id"]))
        start = f"  {self.paint(severity, f'{sign} {self.label(severity)}')}  {name}   "
        plain = 2 + 2 + len(self.label(severity)) + 2 + width + 3
        self.wrapped(start, plain, finding["title"][self.language])
        because = [entry["value"] for entry in finding["evidence"] if "fact" in entry] or [entry["value"] for entry in finding["evidence"]][
            :2
        ]
        if because:
            more = [text("and_more", self.language, n=len(because) - _MOST_EVIDENCE)] if len(because) > _MOST_EVIDENCE else []
            self.field("because", " · ".join([*because[:_MOST_EVIDENCE], *more]))
        if finding["explained_by"]:
            self.field("caused_by", finding["explained_by"])
            return  # what to do is said where the cause is
        effects = [self.effect(here.get(name), name) for name in finding["explains"]]
        if effects:
            more = [text("and_more", self.language, n=len(effects) - _MOST_EXPLAINED)] if len(effects) > _MOST_EXPLAINED else []
            self.field("explains", " · ".join([*effects[:_MOST_EXPLAINED], *more]))
        if finding.get("note"):
            self.field("note", finding["note"][self.language])
        self.field("fix", *filter(None, (finding["advice"][self.language], (finding.get("no_fix") or {}).get(self.language, ""))))
        if command:
            what, line = command.split(": ", 1)
            self.field("automatic", what)
            self.command(line)

    def effect(self, finding: view.Finding | None, name: str) -> str:
        """A mere symptom has nothing to be looked up under its id; its title says how many people saw it."""
        mere = finding is not None and not finding["explains"] and "no_fix" in finding
        return finding["title"][self.language] if finding is not None and mere else name

    def unknown(self, entries: list[dict[str, t.Any]]) -> None:
        """One line for each reason: a database that hangs would else repeat itself ten times."""
        reasons: dict[str, list[str]] = {}
        for entry in entries:
            reasons.setdefault(entry["reason"], []).append(entry["id"])
        label = self.label("unknown")
        for reason, names in reasons.items():
            self.wrapped(f"  {self.paint('unknown', f'? {label}')}   ", 4 + len(label) + 3, f"{' · '.join(names)}  {reason}")

    def field(self, key: str, *paragraphs: str) -> None:
        label = self.label(key)
        start = "     " + self.paint("dim", label) + " " * max(1, _LABEL - len(label))
        for paragraph in paragraphs:
            for content in clean_text(paragraph).split("\n"):
                self.wrapped(start, 5 + max(_LABEL, len(label) + 1), content)
                start = " " * (5 + _LABEL)

    def command(self, content: str) -> None:
        """On a line of its own and never wrapped, to be copied."""
        self.line(" " * 7 + clean_line(content, 1000))

    def wrapped(self, start: str, indent: int, content: str) -> None:
        """`content` within the width, its lines below one another; commands are never cut inside a word."""
        lines = textwrap.wrap(
            content, max(30, self.width - indent), break_long_words=False, break_on_hyphens=False, replace_whitespace=False
        )
        self.line(start + (lines[0] if lines else ""))
        for line in lines[1:]:
            self.line(" " * indent + line)
