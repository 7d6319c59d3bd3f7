# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benches of log reading are compared with: ``grep -E`` with the same signatures."""

from __future__ import annotations

import os
import re
import resource
import subprocess

from collections.abc import Iterable, Mapping
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

LOCALES = ("C", "C.UTF-8")
LEAST_BYTES, LEAST_SECONDS = 1 << 14, 3.0
_SETS = {codes.CATEGORY_DIGIT: "0-9", codes.CATEGORY_WORD: "A-Za-z0-9_", codes.CATEGORY_SPACE: " \t"}
_OTHERS = {codes.CATEGORY_NOT_DIGIT: "[^0-9]", codes.CATEGORY_NOT_WORD: "[^A-Za-z0-9_]", codes.CATEGORY_NOT_SPACE: "[^ \t]"}
_PLACES = {
    codes.AT_BEGINNING: "^", codes.AT_BEGINNING_STRING: "^", codes.AT_END: "$", codes.AT_END_STRING: "$", codes.AT_BOUNDARY: r"\b",
    codes.AT_NON_BOUNDARY: r"\B",
}  # fmt: skip
_COUNTS = {(0, codes.MAXREPEAT): "*", (1, codes.MAXREPEAT): "+", (0, 1): "?"}


def ere(tree: Iterable[Any]) -> str:
    """A parsed expression as grep understands it. Look-arounds and back references are left out: that only makes grep faster."""
    found = ""
    for code, value in tree:
        if code is codes.LITERAL:
            found += re.sub(r"([][\\.*+?(){}|^$])", r"\\\1", chr(value))
        elif code is codes.NOT_LITERAL:
            found += f"[^{chr(value)}]"
        elif code is codes.ANY:
            found += "."
        elif code is codes.IN:
            found += _set(value)
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            least, most, inner = value
            text = ere(inner)
            bounds = f"{{{least},{'' if most is codes.MAXREPEAT else most}}}"
            found += f"({text})" + _COUNTS.get((least, most), bounds) if text else ""
        elif code is codes.SUBPATTERN:
            found += f"({ere(value[3])})"
        elif code is codes.BRANCH:
            found += "(" + "|".join(map(ere, value[1])) + ")"
        elif code is codes.AT:
            found += _PLACES[value]
        elif code is codes.GROUPREF:
            found += ".*"
        elif code not in (codes.ASSERT, codes.ASSERT_NOT):
            raise SystemExit(f"grep does not know {code}")
    return found


def _set(parts: list[Any]) -> str:
    negated = parts[0][0] is codes.NEGATE
    inside, beside = "", []
    for code, value in parts[1:] if negated else parts:
        if code is codes.LITERAL:
            inside += chr(value)
        elif code is codes.RANGE:
            inside += f"{chr(value[0])}-{chr(value[1])}"
        elif value in _SETS:
            inside += _SETS[value]
        elif not negated:
            beside.append(_OTHERS[value])
    if "]" in inside:  # grep wants it first
        inside = "]" + inside.replace("]", "")
    if inside.startswith("^") and not negated:
        inside = inside[1:] + "^"
    one = f"[{'^' if negated else ''}{inside}]" if inside else ""
    return f"({'|'.join([*beside, *([one] if one else [])])})" if beside else one


def speed(path: Path, signatures: Mapping[str, Mapping[str, Any]], locale: str) -> float:
    """MB a second of the processor in which grep counts the lines of a file that any signature matches, without its time to start.

    Of the file's beginning, as much as takes some seconds: with all signatures it needs hours for what the subset reads in one.
    """
    words = [word for value in signatures.values() for word in ("-e", ere(_parser.parse(value["match"])))]
    start = _seconds(words, b"", locale)
    with path.open("rb") as stream:
        whole = stream.read()
    size = LEAST_BYTES
    while True:
        taken = max(_seconds(words, whole[:size], locale) - start, 1e-6)
        if taken >= LEAST_SECONDS or size >= len(whole):
            return min(size, len(whole)) / 1e6 / taken
        size *= 4


def _seconds(words: list[str], data: bytes, locale: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Into a pipe: grep stops at the first match when its output is /dev/null.
    done = subprocess.run(
        ["grep", "-a", "-c", "-E", *words], env={"PATH": os.environ["PATH"], "LC_ALL": locale}, input=data, capture_output=True, check=False
    )
    if done.returncode > 1 or done.stderr:
        raise SystemExit(f"grep does not understand a signature: {done.stderr.decode()[:300]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def told(path: Path, signatures: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"grep -E ({locale}) {speed(path, signatures, locale):.2g}" for locale in LOCALES)
