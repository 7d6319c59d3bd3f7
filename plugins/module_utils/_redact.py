# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log text leaves the host only through here: one line, no control characters, no secrets, bounded.

``Redactor(secrets).clean(text, limit)`` takes str or bytes and returns str. It never raises. Text is redacted as a whole before it is cut.
Known values (``secrets``) are found as they are, percent-encoded (any mixture) and escaped as JSON, Ruby or nginx do; patterns do the rest.
Public addresses and request ids (UUID) stay: they are needed to find the request again.
"""

from __future__ import annotations

import re

from typing import Iterable, List, Match, Union

MASK = "[redacted]"
WORK_LIMIT = 8192  # characters looked at; a log line longer than this is cut here first
SECRET_MINIMUM = 4  # shorter ones are found in any text

# Terminal sequences: OSC (title, links), DCS/SOS/PM/APC, CSI (colours, cursor), two-character escapes.
_ANSI = re.compile(
    "(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\\\|\x9c)?"
    "|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]{0,4096}(?:\x1b\\\\|\x9c)?"
    "|(?:\x1b\\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]?"
    "|\x1b[ -/]{0,16}[0-~]?"
)
# Control, format (bidirectional, zero width), private and surrogate characters. Tab, newline, return are blanks and collapse.
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u115f\u1160\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\ufff9-\ufffd\U000e0000-\U000e0fff]+"
)
_BLANKS = re.compile(r"\s+")

_SENSITIVE = (
    r"passw(?:or)?d|passphrase|(?<![a-z])pass(?![a-z])|secret|token|(?<![a-z])key(?![a-z])|apikey|salt|authorization|bearer|cookie"
    r"|(?<![a-z])otp(?![a-z])|signature|credential"
)
_QUOTED = r'"(?:\\.|[^"\\])*(?:"|\\?$)' + r"|'(?:\\.|[^'\\])*(?:'|\\?$)" + r"|(\\+[\"'])(?:(?!(?<!\\)\{n}).)*(?:\{n}|$)"

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{1,64}-----.*?(?:-----END [A-Z0-9 ]{1,64}-----|$)")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://)(?:[^\s/?#@:\"'<>]*:(?!\d{1,5}(?:[/?#]|$))[^\s\"'<>]*@|[^\s/?#@\"'<>]+@)")
_HEADER = re.compile(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie2?|signature(?:-input)?)(\\*[\"']?\s*(?:=>|[:=])\s*)(?![\"'\\])\S.*")
_PAIR = re.compile(
    r"(?i)(?<![a-z0-9_.\-\]\[])(?<!::)([a-z0-9_.\-\[\]]{0,60}?(?:" + _SENSITIVE + r")[a-z0-9_.\-\[\]]{0,60})"
    r"(?<!\.rb)(?<!\.erb)(?<!\.haml)(?<!\.js)"
    r"(\\*[\"'`]?\s{0,3}(?:=>|[:=](?!:))\s{0,3})(?:" + _QUOTED.replace("{n}", "3") + r"|[^\s,;&\"'}\])]+)"
)
_SWITCH = re.compile(
    r"(?i)(?<!\S)(--?[a-z0-9_-]{0,40}?(?:" + _SENSITIVE + r")[a-z0-9_-]{0,40}\s+)(?:" + _QUOTED.replace("{n}", "2") + r"|\S+)"
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic|digest)\s+[a-z0-9._~+/=-]{6,}")
_QUERY = re.compile(r"((?:[a-z]{2,5}://[^\s?\"']|/)[^\s?\"']*\?)[^\s\"']+")
_MAIL = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.)+(?!(?:service|socket|timer|target|slice|scope|mount|path)\b)[a-zA-Z][\w-]{1,62}")
_SQL = re.compile(
    r"(?:LINE|LIGNE|ZEILE) \d+ ?:|(?:STATEMENT|ANWEISUNG|INSTRUCTION|QUERY|DETAIL|DÉTAIL|CONTEXT) ?:"
    r"|\b(?:SELECT|INSERT INTO|UPDATE|DELETE FROM)\b.*[=(]"
)
_SQL_TEXT = re.compile(r"(?:\bE)?'(?:''|\\.|[^'\\])*(?:'|\\?$)|(\$\w*\$).*?(?:\1|$)")
_SQL_ROW = re.compile(r"(\)=|contains |contient |enthält )\((?:.*\)|.*)")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{32,}={0,2}")
_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])(?:(?<=JID-))?[A-Za-z0-9_-]{20,}={0,2}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_JID = re.compile(r"(?:JID-)?[0-9a-f]{24}\Z")
_WORDS = re.compile(r"(?:(?:[A-Z]?[a-z]+|[A-Z]+|\d+)(?:[_-]+|\Z))+\Z")


def strip_controls(text: Union[str, bytes]) -> str:
    """Text without terminal sequences, control, bidirectional and invalid characters; still several lines when it was."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "ignore")
    if text.isascii() and text.isprintable():
        return text
    return _CONTROL.sub("", _ANSI.sub("", text))


def _character(char: str) -> str:
    """Regular expression for one character of a secret in every way a log may write it."""
    if char.isspace():
        return r"(?:\s+|\+|%20|%09|%0[aA]|\\[ntr])+"
    encoded = "".join("%" + "".join(f"[{c.lower()}{c}]" if c.isalpha() else c for c in f"{b:02X}") for b in char.encode("utf-8", "ignore"))
    ways = [re.escape(char), encoded]
    if not char.isalnum():
        code = f"{ord(char):04x}"
        ways += [r"\\+" + re.escape(char), r"(?i:\\+u" + code + ")", r"(?i:\\x" + code[2:] + ")", "&#0*" + str(ord(char)) + ";"]
        ways += [{"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}.get(char, re.escape(char))]
        if char == "\\":
            ways = [r"\\+", encoded]
    return "(?:" + "|".join(way for way in ways if way) + ")"


class Redactor:
    """Masks the secrets of one host. ``secrets``: values, not names; those shorter than SECRET_MINIMUM are ignored.

    ``names``: of units and containers, which are told openly and may look like tokens (social2024-streaming-1).
    """

    def __init__(self, secrets: Iterable[str] = (), names: Iterable[str] = ()) -> None:
        self._names = frozenset(names)
        values = sorted({strip_controls(s).strip() for s in secrets}, key=len, reverse=True)
        values = [value for value in values if len(value) >= SECRET_MINIMUM]
        self._longest = max([len(value) for value in values] or [0])
        # The first two characters, in any way of writing, decide quickly; most texts hold none.
        patterns: List[str] = ["".join(_character(c) for c in value) for value in values]
        # A short one is masked as a word of its own only: "prod" must not spoil "production".
        patterns = [p if len(value) >= 6 else r"(?<![A-Za-z0-9])%s(?![A-Za-z0-9])" % p for p, value in zip(patterns, values)]
        self._exact = re.compile("|".join(patterns)) if patterns else None

    def clean(self, text: Union[str, bytes], limit: int = 300) -> str:
        """One harmless line of at most ``limit`` characters (an ellipsis marks a cut)."""
        raw = text[: 4 * WORK_LIMIT]
        out = _BLANKS.sub(" ", strip_controls(raw)).strip()
        cut = len(out) > WORK_LIMIT or len(raw) < len(text)
        out = self.redact(out[:WORK_LIMIT])
        if cut:  # the end may be the first half of something: drop more than the longest known value could need
            out = out[: max(0, len(out) - max(64, 3 * self._longest))] + "…"
        if len(out) > limit:
            out = out[: max(0, limit - 1)] + "…"
        return out

    def redact(self, text: str) -> str:
        """``text`` (one line, no control characters) with everything that looks secret masked."""
        if self._exact is not None:
            text = self._exact.sub(MASK, text)
        if "-----BEGIN" in text:
            text = _PEM.sub(MASK, text)
        if "://" in text:
            text = _USERINFO.sub(r"\1" + MASK + "@", text)
        text = _HEADER.sub(r"\1\2" + MASK, text)
        text = _PAIR.sub(r"\1\2" + MASK, text)
        text = _SWITCH.sub(r"\1" + MASK, text)
        text = _SCHEME.sub(r"\1 " + MASK, text)
        if "?" in text:
            text = _QUERY.sub(r"\1" + MASK, text)
        if _SQL.search(text):
            text = _SQL_ROW.sub(r"\1(?)", _SQL_TEXT.sub("'?'", text))
        if "@" in text:
            text = _MAIL.sub("[email]", text)
        return _TOKEN.sub(self._token, _BASE64.sub(_base64, text))

    def _token(self, match: Match[str]) -> str:
        text = match.group()
        if not any(c.isdigit() for c in text) or not any(c.isalpha() for c in text):
            return text
        if text in self._names or _UUID.match(text) or _WORDS.match(text):
            return text
        if _JID.match(text) and (text.startswith("JID-") or match.string[max(0, match.start() - 7) : match.start()].find("jid") >= 0):
            return text  # a job id finds the job again and opens nothing
        return MASK


def _base64(match: Match[str]) -> str:
    text = match.group()
    digits, upper = sum(c.isdigit() for c in text), sum(c.isupper() for c in text)
    lower = sum(c.islower() for c in text)
    return MASK if digits >= 3 and upper >= 3 and lower >= 3 else text
