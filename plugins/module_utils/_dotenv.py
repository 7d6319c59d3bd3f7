# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dotenv files of Mastodon as the Ruby gem reads them, and what is odd in them (private, may change any time).

Order and precedence (reference: docs.joinmastodon.org/admin/config): the real environment wins over every file, and among the files
.env.production.local, .env.local, .env.production, .env the first definition wins. Command substitution is never carried out: the value
stays as it is written and a problem says that it is not known. Three behaviours are told apart: gem 2.7 (Mastodon 3.x), 2.8 (4.0 to 4.2)
and 3.1 (4.3 and newer); read in bkeepers/dotenv, lib/dotenv/parser.rb and substitutions/.
"""

from __future__ import annotations

import re

from typing import NamedTuple

MAX_FILE_BYTES = 1 << 20
MAX_KEYS = 2000

RAILS_FILES = (".env.production.local", ".env.local", ".env.production", ".env")

_START = re.compile(r"[ \t]*(?:export[ \t]+)?([\w.]+)(?:[ \t]*=|:[ \t])[ \t]*", re.ASCII)
_SINGLE = re.compile(r"'((?:\\'|[^'])*)'")
_DOUBLE = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
# As generous as the gem: a digit may come first, and neither brace asks for the other.
_VARIABLE = re.compile(r"(\\)?\$(?!\()\{?([A-Za-z0-9_]+)?\}?")
_COMMAND = re.compile(r"(\\)?\$(?=\([^()]*[^()])")
UNKNOWN_VALUE = "the value of %s is the output of a command, which is not carried out here: it is not known"


class Problem(NamedTuple):
    """An oddity: number of the line (from 1) and one clause that says what is wrong. Never holds a value."""

    line: int
    reason: str


class Dotenv(NamedTuple):
    """Keys with their values, and the problems found."""

    values: dict[str, str]
    problems: list[Problem]


class _Reading(NamedTuple):
    """What is known while one file is read."""

    values: dict[str, str]
    problems: list[Problem]
    environment: dict[str, str]
    gem: tuple[int, int]


def parse(data: bytes, environment: dict[str, str] | None = None, gem: tuple[int, int] = (3, 1)) -> Dotenv:
    """Read one dotenv file as this version of the gem does; never raises.

    `environment` serves ${NAME} references first: what is defined there wins over the file.
    """
    problems: list[Problem] = []
    if len(data) > MAX_FILE_BYTES:
        problems.append(Problem(1, "the file is larger than %d bytes; only its beginning was read" % MAX_FILE_BYTES))
        data = data[:MAX_FILE_BYTES]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as problem:
        problems.append(Problem(data.count(b"\n", 0, problem.start) + 1, "the bytes are not UTF-8"))
        text = data.decode("utf-8", "replace")
    if text.startswith("\ufeff"):
        problems.append(Problem(1, "the file begins with a byte order mark, which becomes part of the first key"))
        text = text[1:]
    values: dict[str, str] = {}
    reading = _Reading(values, problems, environment or {}, gem)
    # The number of the line is carried along: counting line ends from the start for each key would be quadratic on a hostile file.
    position, line = 0, 1
    while position < len(text) and len(values) < MAX_KEYS:
        end = _definition(text, position, line, reading)
        line += text.count("\n", position, end)
        position = end
    return Dotenv(values, problems[:50])


def _definition(text: str, position: int, line: int, reading: _Reading) -> int:
    """Take one line (or one quoted value over several) at position; the position behind it."""
    values, problems = reading.values, reading.problems
    end_of_line = text.find("\n", position)
    following = len(text) if end_of_line < 0 else end_of_line + 1
    raw = text[position:following].strip()
    if not raw or raw.startswith("#"):
        return following
    start = _START.match(text, position, following)
    if start is None:
        problems.append(Problem(line, "it is neither KEY=value nor a comment"))
        return following
    key = start.group(1)
    quote = text[start.end():start.end() + 1]
    if quote in ("'", '"'):
        quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, start.end())
        if quoted is not None and _REST.match(text, quoted.end()):
            inner = quoted.group(1)
            if "\n" in inner and re.search(r"^[ \t]*[A-Z][A-Z0-9_]+=", inner, re.MULTILINE):
                problems.append(Problem(line, "the quote that opens the value of %s swallows later lines; close it" % key))
            values[key] = inner if quote == "'" else _substitute(key, _double_quoted(inner, reading), line, reading)
            rest = _REST.match(text, quoted.end())
            return rest.end() if rest else following
        if quoted is not None and "\n" not in quoted.group(0):
            problems.append(Problem(line, "text follows the closing quote of %s" % key))
        else:
            problems.append(Problem(line, "the quote that opens the value of %s is never closed" % key))
    value = text[start.end():following].split("#", 1)[0].strip()
    values[key] = _substitute(key, _unescape(value) if reading.gem >= (2, 8) else value, line, reading)
    return following


def _double_quoted(value: str, reading: _Reading) -> str:
    mode = reading.values.get("DOTENV_LINEBREAK_MODE") or reading.environment.get("DOTENV_LINEBREAK_MODE")
    if reading.gem < (3, 0) or mode == "legacy":
        return _unescape(value.replace("\\n", "\n").replace("\\r", "\r"))
    return _unescape(re.sub(r"\\([nr])", r"\\\\\1", value))


def _unescape(value: str) -> str:
    return re.sub(r"\\([^$])", r"\1", value)


def _substitute(key: str, value: str, line: int, reading: _Reading) -> str:
    def replace(match: re.Match[str]) -> str:
        if match.group(1):
            return match.group(0)[1:]
        name = match.group(2)
        return reading.environment.get(name, reading.values.get(name, "")) if name else match.group(0)

    value = _VARIABLE.sub(replace, value)[:65536]
    if any(not match.group(1) and ")" in value[match.end():] for match in _COMMAND.finditer(value)):
        reading.problems.append(Problem(line, UNKNOWN_VALUE % key))
        return value
    return _COMMAND.sub(lambda match: "$" if ")" in value[match.end():] else match.group(0), value)
