# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx's configuration as a tree whose every statement knows where it stands, so that one can be edited and the rest stays byte for byte.

What is included hangs in the block that includes it, under the name of its own file. Private, may change any time.
"""

from __future__ import annotations

import os
import re

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_FILES = 300
MAX_DEPTH = 10
_TOKEN = re.compile(r"#[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{};]|(?:\$\{[^}\s]*\}|\\.|[^\s{};\\])+", re.S)
_SECONDS = re.compile(r"(\d{1,9})(ms|[smhdwMy]|)\s*")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000, "": 1}


class Statement:
    """`words` with quotes taken off; text[start:end] of `file` is all of it, text[inner:close] what stands between its braces."""

    def __init__(self, words: list[str], file: str, start: int, parent: Statement | None) -> None:
        self.words = words
        self.file = file
        self.start = start
        self.end = start
        self.inner = self.close = -1
        self.parent = parent
        self.body: list[Statement] = []

    @property
    def name(self) -> str:
        return self.words[0] if self.words else ""

    @property
    def value(self) -> str:
        return self.words[1] if len(self.words) > 1 else ""

    def own(self, name: str) -> list[Statement]:
        """Statements of that name that stand in this very block."""
        return [each for each in self.body if each.name == name]

    def walk(self) -> Iterator[Statement]:
        """Everything below this block, in the order nginx reads it."""
        for each in self.body:
            yield each
            yield from each.walk()

    def within(self, name: str) -> Statement | None:
        """The nearest block of that name around this statement."""
        block = self.parent
        while block is not None and block.name != name:
            block = block.parent
        return block

    def in_effect(self, name: str) -> list[Statement]:
        """The statements of that name that hold in this block: its own, else those of the nearest block around it that has any."""
        block: Statement | None = self
        while block is not None:
            if block.own(name):
                return block.own(name)
            block = block.parent
        return []


class _Reader:
    def __init__(self, read: Callable[[str], str | None], glob: Callable[[str], list[str]], folder: str) -> None:
        self.read, self.glob, self.folder = read, glob, folder
        self.files = 0

    def file(self, path: str, block: Statement, depth: int) -> None:
        """Hang the statements of a file into a block."""
        if self.files >= MAX_FILES or depth > MAX_DEPTH:
            return
        self.files += 1
        text = self.read(path)
        if text is not None:
            self._statements(path, text, block, depth)

    def _statements(self, path: str, text: str, top: Statement, depth: int) -> None:
        block, statement, at = top, None, 0
        while True:
            match = _TOKEN.search(text, at)
            if match is None:
                return
            token, at = match.group(), match.end()
            if token.startswith("#"):
                continue
            if token not in "{};":
                if statement is None:
                    statement = Statement([], path, match.start(), block)
                statement.words.append(token[1:-1] if token[0] in "\"'" else token)
            elif token == "}":
                statement = None
                if block is not top:
                    block.close, block.end = match.start(), at
                    block = block.parent or top
            elif statement is not None:
                statement.end = at
                block.body.append(statement)
                if token == "{" and statement.name.endswith("_by_lua_block"):
                    at = statement.end = _behind_lua(text, at)
                elif token == "{":
                    statement.inner, block = at, statement
                elif statement.name == "include" and len(statement.words) == 2:
                    for name in self.glob(os.path.join(self.folder, statement.value)):
                        self.file(name, block, depth + 1)
                statement = None


def load(main: str, read: Callable[[str], str | None], glob: Callable[[str], list[str]]) -> Statement:
    """The whole configuration, beginning with the file `main`; the main context is a block without a name."""
    root = Statement([], main, 0, None)
    _Reader(read, glob, os.path.dirname(main)).file(main, root, 0)
    return root


def seconds(value: str) -> float | None:
    """A time as nginx writes it (120, 120s, 2m, 1m 30s); None when it is none, e.g. a variable."""
    total, at = 0.0, 0
    for match in _SECONDS.finditer(value):
        if match.start() != at:
            return None
        total, at = total + int(match.group(1)) * _UNITS[match.group(2)], match.end()
    return total if value and at == len(value) else None


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with each [start:end] replaced."""
    for start, end, new in sorted(set(edits), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def before(text: str, statement: Statement, new: str) -> tuple[int, int, str]:
    """The edit that puts a statement in front of another one: on a line of its own, unless the other has none either."""
    line = text[text.rfind("\n", 0, statement.start) + 1:statement.start]
    if line.strip():
        return (statement.start, statement.start, new + " ")
    return (statement.start, statement.start, new + ("\r\n" if "\r\n" in text else "\n") + line)


def line_of(text: str, statement: Statement) -> int:
    return text.count("\n", 0, statement.start) + 1


def _behind_lua(text: str, at: int) -> int:
    """Behind the brace that ends a block of Lua, whose words are not nginx's."""
    depth = 1
    for match in re.finditer(r"--[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[{}]", text[at:]):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if not depth:
            return at + match.end()
    return len(text)
