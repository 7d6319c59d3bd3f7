# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who wrote a line that somebody pasted: told by its prefix, by its shape, by the lines before it. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.module_utils._lines import ORIGINS, Stripped

AUTO = "auto"
CHOICES = (AUTO, *(origin for origin in ORIGINS if origin not in ("pooler", "system")))  # what a person is asked to tell apart
SERVICES = ("web", "sidekiq", "streaming")  # of Mastodon itself

# Names of programs (journal, syslog) and of services (docker compose): the first that fits.
_NAMES = tuple(
    (re.compile(pattern, re.IGNORECASE), origin)
    for pattern, origin in (
        (r"^kernel$", "kernel"),
        (r"^(?:systemd$|systemd-|\()", "system"),
        (r"pgbouncer|pgcat|odyssey|pooler", "pooler"),
        (r"\binit[-_]db\b|\bdb[-_](?:init|migrat|setup|prepare)", "command"),  # jobs of packagers and charts
        (r"sidekiq", "sidekiq"),
        (r"stream|flodgatt|^(?:node|npm|yarn)$", "streaming"),
        (r"nginx|apache|httpd|caddy|haproxy|traefik|proxy|ingress", "proxy"),
        (r"postgres|pgsql|psql|(?:^|[-_.])(?:db|database|pg)(?:[-_.]|\d|$)", "database"),
        (r"redis|valkey|keydb|dragonfly", "redis"),
        (r"elastic|opensearch|(?:^|[-_.])es(?:[-_.]|\d|$)|docker|containerd|migrat|shell|console|cron|ansible", "command"),
        (r"web|puma|rails|^mastodon(?:[-_.]app)?(?:[-_.]\d+)?$", "web"),
    )
)
_RUBY = re.compile(r"(?:bundle|ruby[\d.]*|rbenv|start\.sh|sh|bash)\Z")  # web or Sidekiq: the shape of the line must tell
# What is said of a whole log: "journal:mastodon-web", "command output of rails db:migrate", "nginx error log".
_WHERE = tuple(
    (re.compile(pattern, re.IGNORECASE), origin)
    for pattern, origin in (
        (r"command|output|console|terminal|dashboard|shell|setup|systemctl|browser|curl|\btask\b|tootctl", "command"),
        (r"\b(?:db|assets):\w|\b(?:yarn|bundle|npm) install|kubectl\b.{0,60} (?:describe|get|top)\b|sidekiqmon|redis-cli", "command"),
        (r"\b(?:docker|podman|compose) (?:ps|inspect|stats|info|events)\b", "command"),
        (r"nginx|apache|caddy|haproxy|traefik|proxy", "proxy"),
        (r"sidekiq", "sidekiq"),
        (r"streaming", "streaming"),
        (r"pgbouncer", "pooler"),
        (r"postgres|database", "database"),
        (r"redis|valkey", "redis"),
        (r"kernel|dmesg", "kernel"),
        (r"\bweb\b|puma|rails|production\.log", "web"),
    )
)
_DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \S{1,6} "
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SHAPES = tuple(  # what only one kind of program writes
    (re.compile(pattern), origin)
    for pattern, origin in (
        (r"(?:\d{4}/\d\d/\d\d \d\d:\d\d:\d\d )?\[\w+\] \d+#\d+: |nginx: \[", "proxy"),
        # what is left of nginx's lines when somebody cut their beginning off
        (r'(?:\[(?:warn|error|crit|alert|emerg)\] )?(?:l?stat|open|connect|recv|upstream)(?:\(\) (?:"[^"]{0,500}" )?failed \(\d+: '
         r"| timed out \(\d+: | prematurely closed connection while )", "proxy"),
        (r"\[[\w:]*:(?:warn|error|crit|alert|emerg)\] \[pid \d+", "proxy"),
        (r'\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+\t[A-Z]+\t|time="[^"]{1,40}" level=\w+ msg=|\S{1,40} [A-Z]{3} \S{0,80}traefik', "proxy"),
        (r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d(?:\.\d+)? \d{4}\] \[[\w:]+\] |AH\d{5}: ", "proxy"),
        (r'[^"]{0,200}\[\d{1,2}/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "', "proxy"),
        (r'\{"level":"\w+","ts":"[^"]*","logger":"postgres"', "database"),
        (r'\{"level":"\w+","ts":', "proxy"),
        (r"(?:(?:DEBUG|INFO|WARN|ERROR|FATAL)\s+)?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z (?:pid=)?\d+ (?:tid=|TID-)", "sidekiq"),
        (r"(?:pid=\d+ )?tid=\w+ |\d+ TID-\w+ ", "sidekiq"),
        (r'(?:INFO|WARN|ERROR): (?:heartbeat: |Error fetching (?:job|message): |\{"context":)', "sidekiq"),
        # not what yarn says
        (rf'\{{"level":\d\d,"time":|(?:ERR!|verb|silly|info) (?!Visit https://yarn|There appears to be)[^\s=]|WARN {_UUID} ', "streaming"),
        (r'\{"level":"\w+","time":\d+,.{0,80}"name":"streaming"|\[ioredis\] |Error: (?:connect E|getaddrinfo E)', "streaming"),
        (r"(?:\d+:[A-Z] |\[\d+\] )\d{1,2} \w{3}(?: \d{4})? \d\d:\d\d:\d\d", "redis"),
        (_DATE + r"\[\d+\] (?:process \d+ )?(?:LOG|WARNING|ERROR|FATAL|NOISE) (?!:)", "pooler"),
        (_DATE + r"(?:\[\d+\]:? ?)?.{0,120}?\b(?:LOG|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL|STATEMENT): {1,2}|LOG:  duration: ", "database"),
        (_DATE + r"\[\d+(?:-\d+)?\]:? (?:\S{1,120}@\S{1,120} )?[^\W\d_]{2,20} ?: {2}", "database"),  # in the language of the server
        (r"[\w@.\\:-]{1,250}\.(?:service|socket|target|slice|scope|timer|mount|swap): ", "system"),
        # not what docker-compose says of containers
        (r"(?:Started|Stopped|Starting|Stopping|Failed to start) (?!.*\.\.\. ?(?:done|error)\b).*mastodon", "system"),
        (r"(?:Memory cgroup out of memory|Out of memory)(?: \([^)]*\))?: Kill|oom-kill:constraint=|\S+ invoked oom-killer", "kernel"),
        (rf"[DIWEFA], \[\d{{4}}-|\[{_UUID}\](?: |\Z)|\[ActionDispatch::|(?:\[[^\]]*\] )?method=[A-Z]+ path=", "web"),
        (r"(?:\[\d+\] )?(?:Puma starting|\* (?:Puma version|Min threads|Listening on|Environment:)|! Unable to )|=> Booting Puma", "web"),
        (r"(?:\d{4}-\d\d-\d\d [\d:]{8} [+-]\d{4} )?Rack app (?:\(|error)|(?:\[\d+\] )?! Terminating timed out worker", "web"),
    )
)
_COMMAND = re.compile(  # what only a command prints that somebody ran
    r"(?:\S+@\S+:\S*)?[$#] \S|(?:bin/)?(?:rails|rake) aborted!|== \d{14} \w+: |Tasks: TOP => |yarn |npm (?:ERR|error|WARN)"
    r"|error Command failed|\[[Ww]ebpacker\]|Building with Vite|vite v\d|=> (?:ERROR|CANCELED) \[|failed to solve: "
    r"|Bundler|Fetching gem|TASK \[|fatal: \[|ExecStart="
    r"|\s*(?:Active|Loaded|Process|Main PID): "
)
# Of a shell, with a command behind it.
_PROMPT = re.compile(r"(?:\[?\S{1,80}@\S{1,80}(?: \S{1,80})?)?\$ \S|\[?\S{1,80}@\S{1,80}[: ]\S{0,80}# \S")
_SILENT = ("kernel", "system")  # no text of a stranger is in their logs that could look like a command's
_MORE = re.compile(  # goes on with what the line before said
    r"\s|\Z|(?:from )?(?:/|[\w.-]+/)\S*:\d+(?::in|\Z)|DETAIL: |HINT: |LINE \d|CONTEXT: |Caused by|Causes:|\d+: from |\}|\]|at \S+ \("
)


def origin_of_whole(where: str) -> str:
    """The origin that a description of a whole log tells, or auto."""
    where = re.sub(r" behind [^,;:()]*", " ", where)  # "web behind a reverse proxy"
    return next((origin for pattern, origin in _WHERE if pattern.search(where)), AUTO)


def shows(text: str) -> bool:
    """Whether a line shows by itself who wrote it."""
    return any(pattern.match(text) for pattern, _origin in _SHAPES)


class Origins:
    """Feed the lines of one log in their order."""

    def __init__(self, whole: str = AUTO) -> None:
        self._whole = whole
        self._previous = ""
        self._prompted = False
        self._processes: dict[tuple[str, int], str] = {}

    def of(self, line: Stripped) -> str:
        """The origin of this line; a word of ORIGINS."""
        certain = self._certain(line)
        self._prompted = not certain and (self._prompted or _PROMPT.match(line.text) is not None)
        self._previous = certain or ("command" if self._prompted else self._likely(line))
        return self._previous

    def _certain(self, line: Stripped) -> str:
        shape = next((origin for pattern, origin in _SHAPES if pattern.match(line.text)), "")
        if shape == "web" and self._whole == "sidekiq" and "method=" not in line.text[:200]:
            shape = "sidekiq"  # Rails in a process of Sidekiq tags its lines the same way
        if shape == "streaming" and self._whole == "command" and not line.text.startswith("{"):
            shape = "command"  # yarn and Node.js say it of a build too
        name = line.service or line.identifier
        if not name:
            return shape
        if _RUBY.match(name):
            return self._of_ruby((name, line.pid), shape)
        named = next((origin for pattern, origin in _NAMES if pattern.search(name)), "")
        return named or shape or ("command" if line.identifier else "")

    def _of_ruby(self, process: tuple[str, int], shape: str) -> str:
        if shape in ("web", "sidekiq"):
            if len(self._processes) < 1000:
                self._processes[process] = shape
            return shape
        return self._processes.get(process) or (self._whole if self._whole in SERVICES else "web")

    def _likely(self, line: Stripped) -> str:
        if self._previous and _MORE.match(line.text):
            return self._previous
        if self._whole in _SILENT and _COMMAND.match(line.text):
            return "command"
        if self._whole != AUTO:
            return self._whole
        return self._previous if self._previous in SERVICES and not _COMMAND.match(line.text) else "command"
