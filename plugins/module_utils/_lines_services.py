# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of the services around Mastodon (nginx, PostgreSQL, PgBouncer, Redis, systemd, kernel): text without outer prefix to ``Line``."""

from __future__ import annotations

import json
import re

from typing import Any, Dict, Optional, Tuple

from ansible_collections.fediops.mastodon.plugins.module_utils._line import LIMIT, Line, detail, epoch, fraction, knows, month_epoch

_NGINX = re.compile(r"(?:(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) )?\[(\w+)\] \d+#\d+: (?:\*(\d+) )?(.*)", re.S)
# Behind ", client:" come the server block, then what the client sent, and between that the upstream: only names and addresses are kept.
_NGINX_CLIENT = re.compile(r", (?=client: [\w.:/\[\]-]*(?:, |$)|server: |request: \"|upstream: \"|host: \"|referrer: \")")
_NGINX_SERVER = re.compile(r"(?:client: [^,]*, )?server: ([^,\s]*)(?:, |$)")
_NGINX_UPSTREAM = re.compile(
    r'(?:", |^(?:client: [^,]*, )?(?:server: [^,]*, )?)upstream: "([a-z]+://)?(unix:[^":\s]*|[^"/\s]*)((?::?/[^"\s]*)?)'
)
# What nginx looked up as a file, where it tells more than what a visitor asked for: a page of the application under Mastodon's root, or
# nginx's own (its location does not fall back to Puma), and a file that every checkout has (the root is wrong).
_NGINX_FILE = re.compile(
    r'open\(\) "(?:[^"]*/(public/(?:(?:api|auth|settings|admin|oauth|users|inbox|web|about|explore|nodeinfo|\.well-known)(?=/)'
    r'|(?:explore|about|deck|getting-started|actor|inbox)(?=")|public(?=/(?:packs|assets|system|emoji)/)'
    r'|(?<!/public/public/)packs/(?:css|js)(?=/(?:common|application|core)[-./])))'
    r"|[^\"]*/public/(sounds/boop\.|(?:avatars|headers)/original/missing\.)"
    r"|(?:(?:/usr/share/nginx|/usr/local/\S{0,20}nginx|/etc/nginx|/var/lib/nginx|/var/www)/html"
    r"|/www/wwwroot/[^/\"]{1,100}|/var/www/vhosts/[^\"]{1,150}/httpdocs|/home/[^\"]{1,100}/public_html|/srv/www/htdocs)/"  # of panels
    r'(\.well-known/webfinger|api/v\d/instance|auth/sign_in|users/(?=[^/"]{1,60}/inbox)|packs/|@(?!fs/|vite/|id/|react-refresh\b)(?=\w)'
    r'|system/(?=(?:accounts|media_attachments|cache|custom_emojis|site_uploads)/)))[^"]*" failed \(2: '
)
# What Mastodon is never asked by: PHP and its like, and paths of others on the same server.
_NGINX_OTHERS = re.compile(
    r'upstream: "(?:fastcgi|uwsgi|scgi)://|^FastCGI sent in stderr|request: "[A-Z]{3,8} /(?:_matrix|_synapse|remote\.php|index\.php|ocs)\b'
)
_NGINX_NAMED = re.compile(r'host: "[a-z0-9-][\w.-]*\.[a-z]{2,}(?::\d+)?"')  # scanners ask by address
_NGINX_HASHED = re.compile(r'/packs/(?:css|js|assets)/[\w~-]{1,80}-[0-9A-Za-z_-]{8,40}(?:\.chunk)?\.(?:css|js)" ')
_NGINX_ASKED_RIGHT = re.compile(r'server: ([\w.-]{4,255}), .{0,2000}host: "\1"')
_NGINX_BELOW = re.compile(r'request: "[A-Z]{3,7} /[^? "]')
_NGINX_QUOTED = re.compile(r'".*"', re.S)
_APACHE_BACKEND = re.compile(r"(?:attempt to connect to|from remote server|to) (?:\(?unix:)?((?:[\w.:\[\]-]+:\d+|/[^\s|)]+))")
_APACHE_OWN = re.compile(  # messages of the proxy modules; of the others, which repeat what was asked for, only the number
    r"((?:\(\d+\)[^:]{1,80}: )?(?:\[client [^\]]{1,80}\] )?AH(?:0(?:09|1\d)\d\d\b(?:: [^\"]*)?"
    # Pages that every visitor asks for, below a root that is nobody else's.
    r"|00128: File does not exist: /home/mastodon/live/public/(?:auth/sign_in|explore|about|home|inbox|api/v[12]/instance)\s*\Z|\d{5}\b)"
    r"|(?:\[client [^\]]{1,80}\] )?ModSecurity: Request body \(Content-Length\) is larger than the configured limit)"
)
_APACHE_CLIENT = re.compile(r"\[client [^\]]{1,80}\] ")
_APACHE = re.compile(
    r"(?:\[?\w{3} (\w{3}) (\d\d) (\d\d:\d\d:\d\d)(\.\d+)? (\d{4})\] |(?=\[\w*:\w+\] \[pid ))\[(?:\w*:)?(\w+)\] (?:\[pid [^\]]*\] )?"
    r"(?:\[client [^\]]*\] )?(.*)", re.S
)
_ACCESS = re.compile(r'\[(\d{1,2})/(\w{3})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})\] "([A-Z]{1,20}) ?([^"]*)" (\d{3})\b')
_ACCESS_ODD = re.compile(r'\[(\d{1,2})/(\w{3})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})\] "()([^"]*)" (\d{3})\b')
_ACCESS_ADDED = re.compile(r' (upstream_status|request_id)="([\w, :-]{1,100})"')
_CADDY = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+\t(WARN|ERROR|FATAL)\t[\w.]+\t([^\t{]{1,2000})")  # on a terminal
_HAPROXY = re.compile(
    r"(?:[0-9A-Fa-f:.]{2,45}|unix):\d+ \[[\w/:.]+\] \S+ ([\w.-]+/[\w.<>-]+) (?:-?\d+/){4}\+?-?\d+ (\d{3}|-1) \+?\d+ - - "
    r"([A-Za-z-]{2})[A-Za-z-]{2} "
)
_STREAM_ASKED = re.compile(
    r'"GET (?:https?://[^/" ]{1,255})?/api/v1/streaming/?\?(?:[^" ]{0,500}&)?stream=(?:user|public|direct|hashtag|list)\b'
)
_HAPROXY_SERVER = re.compile(
    r"(?:(?:\[\w+\] {1,4})?(?:\S+ )?\(\d+\) : )?(?:Server [\w.-]+/[\w.-]+ is (?:DOWN|UP|going)|(?:[Pp]roxy|[Bb]ackend) \S+ has no server)"
)
_GATEWAY = re.compile(r"50\d [A-Z][\w -]{2,40}\Z")
_TRAEFIK = re.compile(  # its debug log; a visitor's words stand behind, if at all
    r"(?:time=\"[^\"]{1,40}\" level=\w+ msg=\"'50\d [\w -]{1,40}' caused by: |\S+ \w{3} \S*traefik\S* > 50\d [\w -]{1,40} error=\"?)"
    r"([^\"]{1,200})"
)
_POSTGRES = re.compile(
    r"(?:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{1,6})? ([A-Z]{1,5}|[+-]\d\d(?::?\d\d)?) (?:\[(\d+)(?:-\d+)?\]:? ?)?(?:[^:]{0,200}? ?))?"
    r"\b(DEBUG\d?|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|STATEMENT|DETAIL|HINT|CONTEXT|QUERY|LOCATION"
    r"|FEHLER|WARNUNG|HINWEIS|PANIK|ANWEISUNG|TIPP|ZUSAMMENHANG"
    r"|ERREUR|ATTENTION|PANIQUE|JOURNAL|INSTRUCTION|DÉTAIL|ASTUCE|CONTEXTE|REQUÊTE|DEBUG"
    r"|错误|致命错误|灾难性错误|警告|日志|오류|치명적오류|손상|경고|로그|ОШИБКА|ВАЖНО|ПАНИКА|ПРЕДУПРЕЖДЕНИЕ|СООБЩЕНИЕ|ERRORE|FATALE|PANICO|ATTENZIONE"
    r"|ERRO|PÂNICO|AVISO|CONSULTA|DICA|FEL|FATALT|LOGG|VARNING|SATS|DETALJ|TIPS|KONTEXT|FRÅGA|ANFRAGE"
    r"|ПОМИЛКА|ФАТАЛЬНО|ПАНІКА|ЗАПИСУВАННЯ|ПОПЕРЕДЖЕННЯ|ІНСТРУКЦІЯ|ВІДОМОСТІ|УКАЗІВКА|ЗАПИТ|ЗАПРОС|比致命错误还过分的错误"
    r"|详细信息|查询|問い合わせ|쿼리"
    r"|文|語句|语句|명령 구문|ОПЕРАТОР|SENTENCIA|ISTRUZIONE|COMANDO|詳細|详情|상세정보|ПОДРОБНОСТИ|DETALLE|DETTAGLI|DETALHE"
    r"|ヒント|提示|힌트|ПОДСКАЗКА|SUGGERIMENTO|文脈|上下文|내용|КОНТЕКСТ|CONTEXTO|CONTESTO) ?: +(.*)",
    re.S,
)
_PG_WORDS = {  # of the languages that only _languages.py knows
    **dict.fromkeys("错误 오류 ОШИБКА ПОМИЛКА ERRORE ERRO FEL".split(), "ERROR"),
    **dict.fromkeys("致命错误 치명적오류 ВАЖНО ФАТАЛЬНО FATALE FATALT".split(), "FATAL"),
    **dict.fromkeys("灾难性错误 比致命错误还过分的错误 손상 ПАНИКА ПАНІКА PANICO PÂNICO".split(), "PANIC"),
    **dict.fromkeys("警告 경고 ПРЕДУПРЕЖДЕНИЕ ПОПЕРЕДЖЕННЯ ATTENZIONE AVISO VARNING".split(), "WARNING"),
    **dict.fromkeys("日志 로그 СООБЩЕНИЕ ЗАПИСУВАННЯ LOGG".split(), "LOG"),
    **dict.fromkeys("文 語句 语句 ОПЕРАТОР ІНСТРУКЦІЯ SENTENCIA ISTRUZIONE COMANDO SATS".split() + ["명령 구문"], "STATEMENT"),
    **dict.fromkeys("詳細 详情 详细信息 상세정보 ПОДРОБНОСТИ ВІДОМОСТІ DETALLE DETTAGLI DETALHE DETALJ".split(), "DETAIL"),
    **dict.fromkeys("CONSULTA FRÅGA ANFRAGE ЗАПИТ ЗАПРОС 查询 問い合わせ 쿼리".split(), "QUERY"),
    **dict.fromkeys("文脈 上下文 내용 КОНТЕКСТ CONTEXTO CONTESTO KONTEXT".split(), "CONTEXT"),
}
_PG_SEVERITY = {
    **dict.fromkeys(("ERROR", "FEHLER", "ERREUR"), "error"),
    **dict.fromkeys(("FATAL", "PANIC", "PANIK", "PANIQUE"), "fatal"),
    **dict.fromkeys(("WARNING", "WARNUNG", "ATTENTION"), "warn"),
}
_PG_STRANGE = {"STATEMENT", "ANWEISUNG", "INSTRUCTION", "DETAIL", "DÉTAIL", "CONTEXT", "CONTEXTE", "ZUSAMMENHANG", "QUERY", "REQUÊTE"}
_PGBOUNCER = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? ([A-Z]{1,5}|[+-]\d\d) \[\d+\] (?:process \d+ )?"
    r"(LOG|NOISE|DEBUG|WARNING|ERROR|FATAL) (.*)",
    re.S,
)
_REDIS = re.compile(r"(?:\[?\d+\]?:?[A-Z] )?(\d{1,2}) (\w{3})(?: (\d{4}))? (\d\d:\d\d:\d\d)(\.\d+)? ([.\-*#]) (.*)", re.S)
_REDIS_SEVERITY = {".": "debug", "-": "info", "*": "info", "#": "warn"}
_UNIT = re.compile(r"([\w@.\\:-]{1,250}\.(?:service|socket|target|slice|scope|timer|mount|swap)): (.*)", re.S)
_UNIT_OLD = re.compile(  # systemd before 230
    r"Unit ([\w@.\\:-]{1,250}\.service) entered failed state|([\w@.\\:-]{1,250}\.service):? start request repeated too quickly"
)
_EVENTS = (
    ("Main process exited", "exited"),
    ("Failed with result", "failed"),
    ("Scheduled restart job", "restart"),
    ("A process of this unit has been killed by the OOM killer", "oom"),
    ("Failed at step", "step"),
    ("Start request repeated too quickly", "limit"),
)
_OOM = re.compile(r"oom-kill:constraint=(\w+),.*?(?:,oom_memcg=([^,]*))?(?:,task_memcg=([^,]*))?,task=(.*),pid=(\d+),uid=(\d+)\s*$")
_KILLED = re.compile(r"(Memory cgroup out of memory|Out of memory(?: \([^)]*\))?): Kill(?:ed)? process (\d+),? (?:UID \d+,? )?\((.*?)\)")


def proxy(text: str) -> Line:
    """nginx error log, access log (combined and close relatives), error logs of Apache, Caddy, HAProxy and Traefik."""
    match = _NGINX.match(text)
    if match:
        date, level, connection, message = match.groups()
        text, fields = _nginx(message)
        return Line("text", text, _level(level), f"*{connection}" if connection else "", "", epoch(date) if date else None, fields)
    found = _ACCESS.search(text) or _ACCESS_ODD.search(text)
    if found:
        day, month, year, hms, zone, method, path, status = found.groups()
        asked: Dict[str, Any] = {"method": method, "path": path.partition(" ")[0], "status": int(status)}
        # What enable_request_log adds behind; nginx writes a quote that a visitor sent as \x22, so none of it can be his.
        added = dict(_ACCESS_ADDED.findall(text, found.end()))
        asked.update((key, value) for key, value in added.items() if key != "request_id")
        return Line("access", "", "", added.get("request_id", ""), "", month_epoch(month, int(day), hms, int(year), zone), asked)
    apache = _APACHE.match(text)
    if apache:
        month, day, hms, digits, year, level, message = apache.groups()
        base = month_epoch(month, int(day), hms, int(year)) if month else None
        own = _APACHE_OWN.match(message.partition(", referer: ")[0])
        backend = _APACHE_BACKEND.search(own.group(1)) if own else None
        fields = {"upstream": [backend.group(1)]} if backend else {}
        told = _APACHE_CLIENT.sub("", own.group(1)) if own else ""
        return Line("text", told, _level(level), "", "", None if base is None else base + fraction(digits), fields)
    if text.startswith("{"):
        return _caddy(text)
    console = _CADDY.match(text)
    if console:
        return Line("text", console.group(2), console.group(1).lower())
    haproxy = _HAPROXY.match(text)
    if haproxy:  # whom it asked, how that ended, what it answered; the request and its headers stand behind
        streaming = " streaming" if _STREAM_ASKED.search(text, haproxy.end()) else ""
        return Line("text", "haproxy: {0} {2} {1}".format(*haproxy.groups()) + streaming)
    traefik = _TRAEFIK.match(text)
    if traefik:
        return Line("text", traefik.group(1), "error")
    ours = text.startswith(("nginx: ", "AH0", "apache2: ", "httpd: ")) or _HAPROXY_SERVER.match(text)
    return Line("text", text if ours else "")


def _nginx(message: str) -> Tuple[str, Dict[str, Any]]:
    """What nginx itself says of a request, and {server upstream}: its server block and the addresses of upstreams it may mean."""
    cut = _NGINX_CLIENT.search(message)
    text, rest = (message[: cut.start()], message[cut.end() :]) if cut else (message, "")
    # A path that reads like an answer of the operating system; a directory that somebody tried.
    if text.startswith("directory index of") and _NGINX_BELOW.search(rest):
        return "", {}
    if message.count('" failed (') > 1 or _NGINX_OTHERS.search(message):
        return "", {}
    file = _NGINX_FILE.match(text)
    told = file and (file.group(3) is None or _NGINX_NAMED.search(rest))
    name = next(filter(None, file.groups())) if file and told else ""
    name += "of a build" if name == "packs/" and _NGINX_HASHED.search(text) and _NGINX_ASKED_RIGHT.search(rest) else ""
    text = _NGINX_QUOTED.sub(f'"…/{name}…"' if name else '"…"', text)
    fields: Dict[str, Any] = {}
    server = _NGINX_SERVER.match(rest)
    if server:
        fields["server"] = server.group(1)
        text += ", " + server.group().rstrip(", ")
    upstreams = list(_NGINX_UPSTREAM.finditer(rest))[:4]
    if upstreams:
        fields["upstream"] = [one.group(2).replace("unix:", "") for one in upstreams]
        streaming = upstreams[-1].group(3).startswith(("/api/v1/streaming", ":/api/v1/streaming"))
        text += f', upstream: "{upstreams[-1].group(1) or ""}{upstreams[-1].group(2)}/{"api/v1/streaming" if streaming else ""}"'
    return text, fields


def _caddy(text: str) -> Line:
    """Caddy writes JSON; the request in it is the visitor's."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return Line("text", "")
    if not isinstance(record, dict):
        return Line("text", "")
    if record.get("level") == "debug" and _GATEWAY.match(str(record.get("message") or record.get("msg"))):  # Traefik, of its backend
        return Line("text", str(record.get("error"))[:LIMIT], "error")
    if record.get("level") not in ("warn", "error", "fatal", "panic"):
        return Line("text", "")
    request, stamp = record.get("request"), record.get("ts")
    fields = {"server": str(request.get("host") or "").partition(":")[0].lower()} if isinstance(request, dict) else {}
    told = ": ".join(str(record[key])[:LIMIT] for key in ("msg", "error") if isinstance(record.get(key), str))
    when = float(stamp) if isinstance(stamp, (int, float)) and 0 < stamp < 1e11 else None
    return Line("text", told, str(record["level"]), "", "", when, fields)


def _level(word: str) -> str:
    return {"emerg": "fatal", "alert": "error", "crit": "error", "error": "error", "warn": "warn"}.get(word, "info")


def postgres(text: str) -> Line:
    """PostgreSQL's stderr log (Debian: ``%m [%p] %q%u@%d``), severities in English, German, French and the languages of _languages.py."""
    if text.startswith(("{", "postgres {")):
        return _postgres_json(text)
    match = _POSTGRES.match(text)
    if match is None:
        return Line("more", text)
    date, digits, zone, _pid, word, message = match.groups()
    word = _PG_WORDS.get(word, word)
    when, fields = _zoned(date, zone, digits) if date else (None, {})
    said = f"{word}:  {message}"
    if word in _PG_STRANGE:
        said = detail(said)
        return Line("text" if said else "statement", said, "info", "", "", when, fields)
    return Line("text", said, _PG_SEVERITY.get(word, "info"), "", "", when, fields)


def _postgres_json(text: str) -> Line:
    """log_destination = jsonlog (15 and newer), and what CloudNativePG makes of csvlog."""
    try:
        told = json.loads(text[text.index("{") :])
        record = told.get("record") or told
        if "error_severity" not in record:
            return Line("text", str(told.get("err") or told.get("msg") or "")[:LIMIT])
        return postgres("%s:  %s" % (record["error_severity"], record.get("message", "")))
    except (ValueError, AttributeError, TypeError, RecursionError):  # cut off
        return Line("text", "")


def _zoned(date: str, zone: str, digits: Optional[str]) -> Tuple[Optional[float], Dict[str, Any]]:
    sure = knows(zone)
    base = epoch(date, zone if sure else "UTC")
    return None if base is None else base + fraction(digits), {} if sure else {"zone": zone}


def pooler(text: str) -> Line:
    """PgBouncer: ``C-0x…: db/user@host:port message`` after its prefix; the journal has no date."""
    match = _PGBOUNCER.match(text)
    if match is None:
        return Line("text", text)
    date, digits, zone, word, message = match.groups()
    when, fields = _zoned(date, zone, digits)
    return Line("text", message, word.lower(), "", "", when, fields)


def redis(text: str) -> Line:
    """Redis and Valkey: ``pid:role day month year time level message``."""
    match = _REDIS.match(text)
    if match is None:
        return Line("text", text)
    day, month, year, hms, digits, level, message = match.groups()
    base = month_epoch(month, int(day), hms, int(year or 0))
    return Line("text", message, _REDIS_SEVERITY[level], "", "", None if base is None else base + fraction(digits))


def system(text: str) -> Line:
    """What systemd says of a unit. fields: unit, event (exited failed restart oom step limit), absent when it is neither."""
    fields: Dict[str, Any] = {}
    old = _UNIT_OLD.match(text)
    if old:
        said = "Failed with result 'exit-code'." if old.group(1) else "Start request repeated too quickly."
        text = f"{old.group(1) or old.group(2)}: {said}"
    match = _UNIT.match(text)
    if match:
        fields["unit"] = match.group(1)
        for start, event in _EVENTS:
            if match.group(2).startswith(start):
                fields["event"] = event
                break
    return Line("text", text, fields=fields)


def kernel(text: str) -> Line:
    """Kernel messages; an OOM kill has fields {process pid scope cgroup}: the first line has all, the second repeats process and pid."""
    found = _OOM.search(text) if "oom-kill:" in text else None
    if found:
        constraint, limited, group, process, pid, _uid = found.groups()
        scope = "cgroup" if constraint == "CONSTRAINT_MEMCG" else "host"
        return Line("text", text, "error", fields={"process": process, "pid": int(pid), "scope": scope, "cgroup": group or limited or ""})
    killed = _KILLED.search(text) if "Kill" in text else None
    if killed:
        scope = "cgroup" if killed.group(1).startswith("Memory cgroup") else "host"
        return Line("text", text, "error", fields={"process": killed.group(3), "pid": int(killed.group(2)), "scope": scope})
    return Line("text", text)
