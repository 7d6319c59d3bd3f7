# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which known signatures a log shows: counts, times and a few samples per signature.

Most lines match nothing, so each regular expression is asked only when a text it cannot match without (see ``literals``) is in the line.
Some hundred such texts are looked for at once: a line is taken four bytes at a time, and what no literal has is sorted out in one step.
"""

from __future__ import annotations

import collections
import functools
import re

from itertools import chain
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Pattern, Set, Tuple

try:
    from re import _constants as _codes  # type: ignore[attr-defined]  # Python 3.11 and newer
    from re import _parser  # type: ignore[attr-defined]
except ImportError:
    import sre_constants as _codes
    import sre_parse as _parser

from ansible_collections.fediops.mastodon.plugins.module_utils._redact import Redactor

TEXT_LIMIT = 8192  # characters of a message a regular expression sees
IDS_LIMIT = 50000  # (signature, request or job) pairs remembered so that one failure counts once
SEEN_LIMIT = 2000  # texts remembered with what they show, and how long they may be
SEEN_LENGTH = 500
SAMPLES = 3  # the first line and the two latest
_LEAST = 3  # characters of a literal; shorter ones are in every line
_GROUP = 4  # bytes
_MOST = 80
_BROKEN = (re.error, KeyError, TypeError, RecursionError, OverflowError)
_NEVER = r"(?!)"


def literals(pattern: str, tree: Any = None) -> Tuple[str, ...]:
    """Texts of which one must be in every string ``pattern`` matches; () when none can be told for sure. ``tree``: the pattern parsed."""
    try:
        tree = tree or _parser.parse(pattern)
        if tree.state.flags & (re.IGNORECASE | re.VERBOSE):
            return ()
        return _required(tree)
    except Exception:  # an unknown Python: slower, never wrong
        return ()


def _required(tree: Any) -> Tuple[str, ...]:
    """The best set of alternatives among the parts that follow each other in ``tree``."""
    best: Tuple[str, ...] = ()
    run = ""
    for code, value in list(tree) + [(None, None)]:
        if code is _codes.LITERAL:
            run += chr(value)
            continue
        best, run = _better(best, (run,)), ""
        if code is _codes.SUBPATTERN:
            _group, added, removed, inner = value
            if not added & re.IGNORECASE and not removed & re.IGNORECASE:
                best = _better(best, _required(inner))
        elif code in (_codes.MAX_REPEAT, _codes.MIN_REPEAT):
            if value[0] >= 1:
                best = _better(best, _required(value[2]))
        elif code is _codes.BRANCH:
            found: List[str] = []
            for branch in value[1]:
                one = _required(branch)
                if not one:
                    break
                found += one
            else:
                if len(found) <= _MOST:
                    best = _better(best, tuple(dict.fromkeys(found)))
    return best


def _better(one: Tuple[str, ...], two: Tuple[str, ...]) -> Tuple[str, ...]:
    """The more telling set: the longer its shortest member, the fewer lines have it."""
    if not two or min(len(text) for text in two) < _LEAST:
        return one
    if not one:
        return two
    return two if min(len(t) for t in two) * len(one) > min(len(t) for t in one) * len(two) else one


@functools.lru_cache(maxsize=4096)
def _compiled(pattern: str) -> Pattern[str]:
    """Once, however many logs are read with the same catalogue: re itself remembers 512."""
    return re.compile(pattern)


class _Sample(NamedTuple):
    origin: str
    name: str
    time: float
    text: str


class _Signature:
    """One signature and what was seen of it."""

    __slots__ = ("count", "first", "key", "last", "literals", "number", "pattern", "regex", "samples", "since")

    def __init__(self, number: int, key: str, value: Mapping[str, Any], since: float) -> None:
        self.number = number
        self.key = key
        self.pattern: str = value["match"]
        self.regex: Optional[Pattern[str]] = None
        if "literals" in value:  # then it was checked with them; most are never compiled here, for no line has their literals
            self.literals = tuple(str(text) for text in value["literals"])
        else:
            self.regex, self.literals = _compiled(self.pattern), literals(self.pattern)
        self.since = since  # older lines are not counted
        self.count = 0
        self.first = 0.0
        self.last = 0.0
        self.samples: List[_Sample] = []


def _groups(text: str, first: int = 0) -> Iterable[int]:
    """The bytes of ``text`` from the ``first``, four at a time, as numbers: one step of C for a whole line."""
    data = memoryview(text.encode("utf-8", "surrogatepass"))[first:]
    return data[: len(data) // _GROUP * _GROUP].cast("I")


def _rarest(texts: Iterable[str]) -> Dict[str, Tuple[int, ...]]:
    """For each literal four groups, each a byte behind the last, so that one of them is in every text with it, wherever it stands there:
    the four that the fewest other literals have, for they will be the rarest in logs, too. () for one that is too short."""
    every = {text: list(zip(*(_groups(text, first) for first in range(_GROUP)))) for text in texts}
    counted = collections.Counter(chain.from_iterable(chain.from_iterable(every.values())))
    return {text: min(fours, key=lambda four: sum(map(counted.__getitem__, four)), default=()) for text, fours in every.items()}


class _Sieve:
    """Which signatures of one origin, by their numbers, a text may show."""

    def __init__(self) -> None:
        self.always: List[int] = []  # nobody can tell what must be in the text
        self._by_group: Dict[int, List[Tuple[str, int]]] = {}
        self._groups: Set[int] = set()
        self._short: List[Tuple[str, int]] = []

    def add(self, groups: Iterable[int], literal: str, number: int) -> None:
        for group in groups:
            self._by_group.setdefault(group, []).append((literal, number))
            self._groups.add(group)
        if not groups:
            self._short.append((literal, number))

    def candidates(self, text: str) -> List[int]:
        found = set(self.always)
        for literal, number in self._short:
            if literal in text:
                found.add(number)
        for group in self._groups.intersection(_groups(text)):
            for literal, number in self._by_group[group]:
                if literal in text:
                    found.add(number)
        return sorted(found)


@functools.lru_cache(maxsize=4)  # one catalogue reads many logs
def _sieves(known: Tuple[Tuple[Tuple[str, ...], Tuple[str, ...]], ...]) -> Dict[str, _Sieve]:
    """By origin; nobody changes them any more. ``known``: literals and origins of each signature, in the order of their numbers."""
    groups = _rarest({text for texts, _origins in known for text in texts})
    found: Dict[str, _Sieve] = {}
    for number, (texts, origins) in enumerate(known):
        for sieve in (found.setdefault(origin, _Sieve()) for origin in origins):
            if not texts:
                sieve.always.append(number)
            for text in texts:
                sieve.add(groups[text], text, number)
    return found


class Matcher:
    """``signatures``: {"issue.signature": {"in": [origin, …], "match": regular expression, "literals": what ``literals`` made of it}}, the
    last where they are known already. A broken expression is left out and listed in ``broken``, at the latest when a line could match it;
    it never stops the others. ``cured``: {issue: epoch}; what is older than that is not counted for its signatures."""

    def __init__(self, signatures: Mapping[str, Mapping[str, Any]], cured: Optional[Mapping[str, float]] = None) -> None:
        self.broken: Dict[str, str] = {}
        self._all: List[_Signature] = []
        self._seen: Dict[Tuple[str, str], List[_Signature]] = {}  # logs repeat themselves
        self._ids: Dict[Tuple[int, str], None] = {}
        known: List[Tuple[Tuple[str, ...], Tuple[str, ...]]] = []
        for key, value in signatures.items():
            try:
                signature = _Signature(len(self._all), key, value, (cured or {}).get(key.partition(".")[0], 0.0))
                known.append((signature.literals, tuple(value["in"])))
            except _BROKEN as error:
                self.broken[key] = str(error)
                continue
            self._all.append(signature)
        self._sieves = _sieves(tuple(known))

    def match(self, origin: str, text: str) -> List[str]:
        """Keys of the signatures this text shows. Counts nothing."""
        return [signature.key for signature in self._hits(origin, text[:TEXT_LIMIT])]

    def see(self, origin: str, name: str, time: float, text: str, ident: str = "", sample: Optional[str] = None) -> int:
        """Count what ``text`` shows; one ``ident`` (request or job) counts once per signature. Returns how many matched."""
        hits = self._hits(origin, text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT])
        for signature in hits:
            if time < signature.since:
                continue
            if ident:
                pair = (signature.number, ident)
                if pair in self._ids:
                    continue
                if len(self._ids) >= IDS_LIMIT:
                    del self._ids[next(iter(self._ids))]
                self._ids[pair] = None
            signature.count += 1
            signature.first = min(signature.first, time) if signature.count > 1 else time
            signature.last = max(signature.last, time)
            if len(signature.samples) >= SAMPLES:
                del signature.samples[1]
            signature.samples.append(_Sample(origin, name, time, text if sample is None else sample))
        return len(hits)

    def _hits(self, origin: str, text: str) -> List[_Signature]:
        key = (origin, text)
        known = self._seen.get(key)
        if known is None:
            sieve = self._sieves.get(origin)
            found = [self._all[number] for number in sieve.candidates(text)] if sieve else []
            known = [signature for signature in found if (signature.regex or self._compile(signature)).search(text)]
            if len(text) <= SEEN_LENGTH:
                if len(self._seen) >= SEEN_LIMIT:
                    self._seen.clear()
                self._seen[key] = known
        return known

    def _compile(self, signature: _Signature) -> Pattern[str]:
        try:
            signature.regex = _compiled(signature.pattern)
        except _BROKEN as error:  # of another Python than that of the controller
            self.broken[signature.key] = str(error)
            signature.regex = _compiled(_NEVER)
        return signature.regex

    def result(self, redactor: Redactor, samples: int = SAMPLES, limit: int = 300) -> Dict[str, Dict[str, Any]]:
        """``logs.signatures`` of the contract: only signatures that were seen."""
        found: Dict[str, Dict[str, Any]] = {}
        for signature in self._all:
            if not signature.count:
                continue
            found[signature.key] = {
                "count": signature.count,
                "first_epoch": signature.first,
                "last_epoch": signature.last,
                "samples": [
                    {"origin": one.origin, "name": one.name, "time_epoch": one.time, "text": redactor.clean(one.text, limit)}
                    for one in signature.samples[:samples]
                ],
            }
        return found
