# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What signatures may hear of a line: the words of Mastodon and its services, not those of visitors and remote servers.

A Host header, a URL, the answer of a remote server or a request path stand in log lines as they were sent. ``heard`` leaves them out, so
nobody can write a fault into a log. An exception always reads ``Class: message``, the innermost class first, and its message only when
that class is one whose messages are written by Ruby, the operating system or a service of this host.
"""

from __future__ import annotations

import functools
import re

from typing import Match

from ansible_collections.fediops.mastodon.plugins.module_utils._languages import begins_known, english
from ansible_collections.fediops.mastodon.plugins.module_utils._line import Line

APPLICATION = ("web", "sidekiq", "streaming", "command")

_OURS = re.compile(
    r"(?:Errno|PG|Redis|RedisClient|ConnectionPool|Webpacker|Shakapacker|ViteRuby|Vite|Sprockets|Propshaft|AssetsManifest|Paperclip"
    r"|Terrapin|Cocaine|Vips|Bundler|Gem|Chewy)::"
    r"|ActiveRecord::(?!Record|SubclassNotFound|Encryption|ValueTooLong|RangeError)|ActiveModel::(?:Missing|Unknown)Attribute"
    r"|ActionView::(?:Template::Error|MissingTemplate)$"
    r"|(?:Elasticsearch|Elastic|OpenSearch)::.*(?:Forbidden|TooManyRequests|ServiceUnavailable|InternalServerError)$"
    r"|(?:NoMemory|SystemCall|IO|Load|Name|NoMethod|Key|Argument|Runtime|Standard|EOF|Thread|Fiber|Frozen)Error$|SystemExit$"
)
_SEARCH = re.compile(r"(?:Elasticsearch|Elastic|OpenSearch|Chewy)::")
_CLASSED = re.compile(r"((?:[A-Z]\w*::)+[A-Z]\w*|[A-Z]\w*(?:Error|Exception|Interrupt|Exit)): ?(?!:)(.*)", re.S)
_DEATH = re.compile(r"(?:\[[^\]]*\] )?! Unable to load application")
# What follows the first of these words is a visitor's; between them and it may stand an address that the server itself saw.
_BEHIND = re.compile(
    r"(?:(?:IP|Ip) ?[Ss]poofing attack(?:\?! client [0-9A-Fa-f:.]{2,45}( is not a trusted proxy))?|No route matches"
    r"|HTTP parse error|Preview of field's value:|Blocked hosts?:( \d{1,3}(?:\.\d{1,3}){3}(?=(?::\d{1,5})?\s*\Z))?).*", re.S
)
# What is told at any severity, and Rails, Rack::Attack or Paperclip alone can say: nothing behind it is taken over.
_TOLD = re.compile(
    r"(Booted Rails [\d.]{1,20} application in \w{1,40} environment)|(Rate limit hit \(\w+\): [0-9A-Fa-f:.]{2,45})(?: [A-Z]{3,7} /|$)"
    r"|(?:Error fetching remote \w{1,20}: |\[paperclip\] )?(Could not run the .\w+. command\. Please install \w+)"
    r"|\s*((?:CACHE )?(?:TRANSACTION|[A-Z][\w:]{1,60} [A-Z]\w+\??(?: \w+)?) \(\d+\.\d+ms\))"
)
_LAST_WORDS = ("Shutting down", "Bye!")
_IMMUTABLE = "pkeys are immutable on OpenSSL 3"
_FORGED = "ActionController::InvalidAuthenticityToken"
# A visitor may send any Origin, but with the name of this server and another scheme only if the proxy keeps the scheme to itself.
_OTHER_SCHEME = re.compile(r"HTTP Origin header \(https://([\w.:-]{1,255})\) didn't match request\.base_url \(http://\1\)")
_SPOOFED = "ActionDispatch::RemoteIp::IpSpoofAttackError"
# The push services of browsers, who answer that our key is not the one the subscription was made with.
_PUSH = re.compile(
    r"host: (?:fcm\.googleapis\.com|updates\.push\.services\.mozilla\.com|web\.push\.apple\.com|[\w.-]{1,60}\.notify\.windows\.com),.*"
    r"?(UnauthorizedRegistration|VapidPkHashMismatch|MismatchSenderId|InvalidTokenFormat|BadJwtToken)", re.S
)
# Webpacker prints the manifest that lacks an entry: that it has others at all says that it is one of another build.
_MANIFEST_ENTRY = re.compile(r'\s*"[\w@./-]{1,120}": "/packs(?:-\w+)?/[\w@./-]{1,160}",?$')
# A connection that this host's own kernel did not let it make: of a remote there is nothing in the message yet.
_CONNECTING = re.compile(r"(?:Faraday|HTTP|HTTPClient|Excon|Seahorse|Net|Socket|Fog|OpenSSL)(?:::|Error\b)")
_NO_SOCKET = re.compile(
    r"(?:failed to connect: |Failed to open TCP connection to [\w.:-]{1,255} \()?(Too many open files) - (?:socket\(2\)|getaddrinfo)"
)
_ENDED = re.compile(r"(end of file reached)\Z")  # Faraday speaks to the search server alone
# The name of an index, as PostgreSQL says it before any value.
_DUPLICATE = re.compile(r'[A-Z]{3,8}: +[^"«:]{10,100}["«] ?index_\w{1,63} ?["»]')
_LINKING = ("ActionView::Template::Error", "ActionController::UrlGenerationError")
_CLIENTS_JSON = "JSON of a client"
# Names of Ruby's classes only.
_CONVERTED = re.compile(r"[Cc]an't (?:cast|convert) [A-Z]\w{1,40}(?: into [A-Z]\w{1,40})?")
# Of the object storage, whose address the administrator chose.
_UNTRUSTED = re.compile(r"state=error: (certificate verify failed)")
_RUST = re.compile(r"thread '[^']{1,60}' panicked at ")
# Elasticsearch's own reason why an index is closed to writing, as Ruby or JSON quotes it; in a stranger's text the quotes were escaped.
_REASON = r"blocked by: \[[A-Z_]{3,30}/\d+/[\w ,/()-]{1,120}\]"
_CLOSED = re.compile(_REASON)
_BLOCKED = re.compile(
    r'(?<!\\)"type" ?(?:=>|:) ?"cluster_block_exception", ?"reason" ?(?:=>|:) ?"[^"\\]{0,200}' rf"({_REASON})"
)
_URL = re.compile(r"[A-Za-z][\w+.-]{0,40}://\S*")
_SERVICE_URL = re.compile(r"((?:rediss?|valkeys?|postgres(?:ql)?|unix)://)(?:[^\s/@]*@)?([a-z0-9_.:\[\]-]*)(?:/[^\s)]*)?(\)?)")
_MODULE = re.compile(r"file://(/[\w./@+-]{1,200}\.[cm]?js:\d+)\Z")  # where Node.js dies
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"?|«[^»]*»|»[^«]*«')
_LOOPBACK = ('"localhost"', '"127.0.0.1"', '"::1"')
_KEY = re.compile(r'key not found: (?="[A-Z]\w*"\s*$)')
_METADATA = re.compile(r"\s{2,}[\w-]+\s*: ")  # of a remote file, as ffmpeg prints it: it pads what comes before the colon
# PostgreSQL repeats the values it could not read.
_VALUE = re.compile(
    r"((?:ERROR|ERREUR|FEHLER|ERRORE|FEL): +"
    r"(?:invalid|malformed|value|date/time|syntax|unterminated|unrecognized|time zone|time|ungültig\w*|fehlerhaft\w*"
    r"|Syntax|Wert|Datum|syntaxe|valeur|chaîne|la valeur|tableau|la sintaxis|el valor"
    r"|literal|sintaxis|sintassi|sintaxe|valor|ogiltig\w*|felaktig\w*|värde\w*)\b[^\"«»:]*).*",
    re.S,
)
_OTHER_SCRIPT = re.compile("[\u0400-\u04ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")  # Russian, Japanese, Chinese, Korean
_MAIL_STATUS = re.compile(r"\d{3}[ -]\d\.\d{1,3}\.\d{1,3}\b")  # RFC 3463; the words behind it are another server's
_EACH_QUOTED = re.compile('"[^"]*"')
_NAMED = re.compile('"[^"]*"|«[^»]*»|»[^«]*«')
_IN_QUOTES = re.compile('".*"|".*')
_REMEMBERED_LENGTH = 500
_QUIET = ("debug", "info", "silly", "verb", "http")


def ours(name: str) -> bool:
    """Whether messages of exceptions of this class come from this host alone."""
    return _OURS.match(name) is not None


def heard(origin: str, line: Line) -> str:
    """The text signatures are matched on; "" when nothing of the line is ours."""
    if origin == "database":
        return _database(line.text) if len(line.text) <= _REMEMBERED_LENGTH else _database.__wrapped__(line.text)
    text = _heard(origin, line)
    return english(text) if origin == "command" or "FATAL" in text or not text.isascii() else text


@functools.lru_cache(maxsize=2048)  # a database repeats itself
def _database(line: str) -> str:
    text = _NAMED.sub(_one_word, _VALUE.sub(r"\1…", line))
    if _OTHER_SCRIPT.search(text):
        around = _IN_QUOTES.sub('"…"', text)
        if english(around) == around:  # in the quotes may stand whatever was in a row, other quotes too
            severity, colon, said = _EACH_QUOTED.sub('"…"', text).partition(":  ")
            return severity + colon + english(said) if begins_known(said) else text.partition('"')[0]
    return english(text)


def _one_word(quoted: Match[str]) -> str:
    """Names in quotes are of one word; of several are the values of rows, in whatever language."""
    return quoted.group() if len(quoted.group().strip('"«»').split()) < 2 else '"…"'


def _heard(origin: str, line: Line) -> str:
    if origin not in APPLICATION:
        return line.text
    if origin == "command":  # its owner ran it and pasted what it printed: no visitor can write into that
        return f"{line.fields['class']}: {line.fields.get('message', '')}" if line.fields.get("class") else line.text
    name = line.fields.get("class", "") if line.kind != "job" else ""
    if origin != "streaming" and name:
        if not line.fields.get("single") or line.severity != "fatal":
            return _raised(name, str(line.fields.get("message", "")))
        told = name + ": " + without(str(line.fields.get("message", "")), name == "KeyError")  # while starting: nobody visits yet
        return "! Unable to load application: " + told if _DEATH.match(line.text) else told
    if origin == "sidekiq" and line.thread and line.text in _LAST_WORDS:
        return "Sidekiq: " + line.text
    told = _TOLD.match(line.text)
    if told:
        return next(part for part in told.groups() if part)
    if line.severity in _QUIET and line.kind != "job" or origin != "streaming" and _METADATA.match(line.text):
        return ""
    if name == "SyntaxError":  # of a client's JSON; or Node.js dies of it, and then it says so without a prefix
        if line.severity != "fatal":
            return _CLIENTS_JSON
        return "" if "JSON" in line.text else line.text
    if origin == "streaming" and _RUST.match(line.text):
        return line.text
    if _MANIFEST_ENTRY.match(line.text):
        return "Your manifest contains an entry"
    named = _CLASSED.match(line.text.lstrip()) if origin != "streaming" else None
    return _raised(named.group(1), named.group(2)) if named else without(line.text)


def _raised(name: str, message: str) -> str:
    if name == _SPOOFED:
        spoofed = _BEHIND.match(message)
        return f"{name}:{spoofed.group(1)}" if spoofed and spoofed.group(1) else name
    if name == _FORGED:
        origin = _OTHER_SCHEME.match(message)
        return name + (": HTTP Origin header … match request.base_url" if origin else "")
    if name.startswith("Net::SMTP"):
        status = _MAIL_STATUS.match(message)
        return f"{name}: {status.group()}" if status else name
    if name == "OpenSSL::PKey::PKeyError" and message.startswith(_IMMUTABLE):
        return f"{name}: {_IMMUTABLE}"
    if name == "TypeError":
        classes = _CONVERTED.match(message)
        return f"{name}: {classes.group()}" if classes else name
    if name in _LINKING and message.startswith("No route matches {"):  # a link of its own; of a visitor's path it is another class
        return f"{name}: No route matches {{…"
    duplicate = _DUPLICATE.match(message) if name in ("PG::UniqueViolation", "ActiveRecord::RecordNotUnique") else None
    if duplicate:
        return f"{name}: {duplicate.group()}"
    if not ours(name):
        refused = _PUSH.match(message) if name.startswith(("Webpush::", "WebPush::")) else None
        refused = refused or (_NO_SOCKET.match(message) if _CONNECTING.match(name) else None)
        refused = refused or (_ENDED.match(message) if name == "Faraday::ConnectionFailed" else None)
        refused = refused or (_UNTRUSTED.search(message) if name == "Seahorse::Client::NetworkingError" else None)
        return f"{name}: {refused.group(1)}" if refused else name
    if _SEARCH.match(name):
        closed = _CLOSED.search(_BEHIND.sub("", message))  # several lines, one for each document
        return f"{name}: {closed.group() if closed else _BEHIND.sub('', message).partition(chr(10))[0]}"
    message = message.partition("\n")[0]
    if message[:1] == "'" and not name.startswith(("PG::", "ActiveRecord::")):  # 'text of a stranger' is not a valid visibility
        message = ""
    return f"{name}: {without(message, name == 'KeyError')}"


def without(text: str, keep_key: bool = False) -> str:
    """``text`` without URLs (those of our services keep host and port), quoted values and what follows words that announce a stranger."""
    text = _BEHIND.sub(r"\1\2", text)
    blocked = _BLOCKED.search(text) if "cluster_block" in text else None
    if blocked:
        return blocked.group(1)
    text = _VALUE.sub(r"\1…", text)
    if "://" in text:
        text = _URL.sub(_address, text)
    if '"' in text or "«" in text or "»" in text:
        known = _KEY.search(text) if keep_key else None
        text = text if known else _QUOTED.sub(_kept, text)
    return text


def _kept(match: Match[str]) -> str:
    """Addresses of this host itself are nobody's words; they tell a wrong setting from a service that is down."""
    return match.group() if match.group() in _LOOPBACK else '"…"'


def _address(match: Match[str]) -> str:
    module = _MODULE.match(match.group())
    if module:
        return module.group(1)
    found = _SERVICE_URL.match(match.group())
    return "".join(found.group(1, 2, 3)) if found else "url://…"
