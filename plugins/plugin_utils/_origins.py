# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who wrote a line that somebody pasted: told by its prefix, by its shape, by the lines before it. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import ORIGINS, Stripped

AUTO = "auto"
CHOICES = (AUTO, *(origin for origin in ORIGINS if origin not in ("pooler", "system")))  # what a person is asked to tell apart
APPLICATION = ("web", "sidekiq", "streaming", "command")

# Names of programs (journal, syslog) and of services (docker compose): the first that fits.
_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE), origin)
    for pattern, origin in (
        (r"kernel\Z", "kernel"),
        (r"systemd\Z|systemd-|\(", "system"),
        (r"pgbouncer|pgcat|odyssey|pooler", "pooler"),
        (r"sidekiq", "sidekiq"),
        (r"stream|flodgatt|node\Z", "streaming"),
        (r"nginx|apache|httpd|caddy|haproxy|traefik|proxy|ingress", "proxy"),
        (r"postgres|pgsql|psql|(?:^|[-_.])(?:db|database|pg)(?:[-_.]|\d|\Z)", "database"),
        (r"redis|valkey|keydb|dragonfly", "redis"),
        (r"elastic|opensearch|(?:^|[-_.])es(?:[-_.]|\d|\Z)|docker|containerd|migrat|shell|console|cron|ansible", "command"),
        (r"web|puma|rails|mastodon(?:[-_.]app)?(?:[-_.]\d+)?\Z", "web"),
    )
)
_RUBY = re.compile(r"bundle\Z|ruby\Z|ruby\d|rbenv|start\.sh\Z|sh\Z")  # web or Sidekiq: the shape of the line must tell
# What is said of a whole log: "journal:mastodon-web", "command output of rails db:migrate", "nginx error log".
_WHERE = (
    (re.compile(r"command|output|console|terminal|dashboard|shell|setup|systemctl|browser|curl|\btask\b", re.IGNORECASE), "command"),
    (re.compile(r"nginx|apache|caddy|haproxy|traefik|proxy", re.IGNORECASE), "proxy"),
    (re.compile(r"sidekiq", re.IGNORECASE), "sidekiq"),
    (re.compile(r"streaming", re.IGNORECASE), "streaming"),
    (re.compile(r"pgbouncer", re.IGNORECASE), "pooler"),
    (re.compile(r"postgres|database", re.IGNORECASE), "database"),
    (re.compile(r"redis|valkey", re.IGNORECASE), "redis"),
    (re.compile(r"kernel|dmesg", re.IGNORECASE), "kernel"),
    (re.compile(r"\bweb\b|puma|rails|production\.log", re.IGNORECASE), "web"),
)
_SHAPES = (  # what only one kind of program writes
    (re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: |nginx: \["), "proxy"),
    (re.compile(r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}\] \[[\w:]+\] |AH\d{5}: "), "proxy"),
    (re.compile(r'[^"]{0,200}\[\d{1,2}/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "'), "proxy"),
    (re.compile(r'\{"level":"\w+","ts":'), "proxy"),
    (re.compile(r"(?:(?:DEBUG|INFO|WARN|ERROR|FATAL)\s+)?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z (?:pid=)?\d+ (?:tid=|TID-)"), "sidekiq"),
    (re.compile(r'\{"level":\d\d,"time":|(?:ERR!|verb|silly|info) [^\s=]|WARN [0-9a-f]{8}-[0-9a-f]{4}-'), "streaming"),
    (re.compile(r"(?:\d+:[A-Z] |\[\d+\] )\d{1,2} \w{3}(?: \d{4})? \d\d:\d\d:\d\d"), "redis"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S{1,6} \[\d+\] (?:process \d+ )?(?:LOG|WARNING|ERROR|FATAL|NOISE) (?!:)[CS]-0x"), "pooler"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S{1,6} (?:\[\d+\]:? ?)?.{0,120}?(?:LOG|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL|STATEMENT): {1,2}"), "database"),
    (re.compile(r"[\w@.\\:-]{1,250}\.(?:service|socket|target|slice|scope|timer|mount|swap): |(?:Started|Stopped|Starting|Stopping|Failed to start) .*mastodon"), "system"),
    (re.compile(r"(?:Memory cgroup out of memory|Out of memory)(?: \([^)]*\))?: Kill|oom-kill:constraint=|\S+ invoked oom-killer"), "kernel"),
    (re.compile(r"[DIWEFA], \[\d{4}-|\[[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\](?: |\Z)|(?:\[[^\]]*\] )?method=[A-Z]+ path="), "web"),
    (re.compile(r"(?:\[\d+\] )?(?:Puma starting|\* (?:Puma version|Min threads|Listening on|Environment:)|! Unable to (?:load application|start worker))|=> Booting Puma"), "web"),
)  # fmt: skip
_COMMAND = re.compile(  # what only a command prints that somebody ran
    r"(?:\S+@\S+:\S*)?[$#] \S|(?:bin/)?(?:rails|rake) aborted!|== \d{14} \w+: |Caused by:\s*$|Tasks: TOP => |yarn |npm (?:ERR|error|WARN)|error Command failed"
    r"|\[[Ww]ebpacker\]|Building with Vite|vite v\d|Bundler|Fetching gem|TASK \[|fatal: \[|ExecStart=|\s*(?:Active|Loaded|Process|Main PID): "
)
_MORE = re.compile(  # a line that goes on with what the line before said
    r"\s|\Z|(?:from )?(?:/|[\w.-]+/)\S*:\d+(?::in|\Z)|DETAIL: |HINT: |LINE \d|CONTEXT: |Caused by|Causes:|\d+: from |\}|\]|at \S+ \("
)


def origin_of_whole(where: str) -> str:
    """The origin that a description of a whole log tells, or auto."""
    return next((origin for pattern, origin in _WHERE if pattern.search(where)), AUTO)


class Origins:
    """Feed the lines of one log in their order."""

    def __init__(self, whole: str = AUTO) -> None:
        self._whole = whole
        self._previous = ""
        self._processes: dict[tuple[str, int], str] = {}

    def of(self, line: Stripped) -> str:
        """The origin of this line; a word of ORIGINS."""
        found = self._certain(line) or self._likely(line)
        self._previous = found
        return found

    def _certain(self, line: Stripped) -> str:
        text = line.text
        shape = next((origin for pattern, origin in _SHAPES if pattern.match(text)), "")
        name = line.service or line.identifier
        if not name:
            if shape == "web" and self._whole == "sidekiq" and "method=" not in text[:200]:
                return "sidekiq"  # Rails in Sidekiq's process tags its lines the same way
            return shape
        process = (name, line.pid)
        if _RUBY.match(name):
            if shape in ("web", "sidekiq"):
                if len(self._processes) < 1000:
                    self._processes[process] = shape
                return shape
            return self._processes.get(process) or (self._whole if self._whole in APPLICATION and self._whole != "command" else shape or "web")
        named = next((origin for pattern, origin in _NAMES if pattern.match(name) or pattern.search(name)), "")
        return named or shape or ("command" if line.identifier else "")

    def _likely(self, line: Stripped) -> str:
        if self._previous and _MORE.match(line.text):
            return self._previous
        if self._whole != AUTO:
            return self._whole
        return "command" if _COMMAND.match(line.text) or not self._previous else self._previous if self._previous in APPLICATION else "command"
