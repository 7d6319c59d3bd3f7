# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jinja2 expressions and texts of known issues, evaluated over the facts of a host. Private to this collection.

The expressions are the catalogue's, the values they see are strangers': log lines, user names, paths. So evaluation is sandboxed,
every value put into a text is cleaned on its way, and what was rendered is never rendered again.
"""

from __future__ import annotations

import functools
import typing as t

import jinja2
import jinja2.exceptions
import jinja2.nodes
import jinja2.sandbox

from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line, clean_text, human_bytes, human_duration

FACT_NAMES = frozenset(
    "schema time_epoch host clock probes recorded seconds install services environment disk memory database redis sidekiq web streaming "
    "proxy assets media search logs network remediation probe_post".split()
)
FLEET_NAMES = frozenset({"hosts", "instance"})  # of an issue that sees all hosts of an instance
FUNCTIONS = frozenset({"seen", "fresh", "age", "units", "probe"})
NEVER_SECONDS = 1e9  # the age of what was not seen at all
SETTLED_SECONDS = 60.0  # what fails at its start has failed by then
ROLES = ("web", "sidekiq", "streaming", "database", "redis", "proxy", "pooler")
# Which subset a function reads: names the probe whose reason explains an undecided expression.
_FUNCTION_SUBSET = {"seen": "logs", "fresh": "logs", "age": "logs", "units": "services"}
_MOST_ITEMS = 10_000


class ExpressionError(ValueError):
    """An expression of the catalogue that cannot be used; the text says why."""


class Undecided(Exception):
    """A condition that cannot be answered from these facts."""


class _Lenient(jinja2.ChainableUndefined):
    """Missing facts in a text: empty, whatever is done with them."""

    def _same(self, *_others: object) -> t.Any:
        return self

    def _false(self, *_others: object) -> t.Any:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _same
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __neg__ = __pos__ = __call__ = __round__ = _same
    __lt__ = __le__ = __gt__ = __ge__ = _false

    def __int__(self) -> int:  # type: ignore[override]
        return 0

    def __float__(self) -> float:  # type: ignore[override]
        return 0.0


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Keys of facts before methods of dict, and no operator that makes much of little."""

    intercepted_binops = frozenset({"*", "**"})

    def getattr(self, obj: t.Any, attribute: str) -> t.Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def call_binop(self, context: t.Any, operator: str, left: t.Any, right: t.Any) -> t.Any:
        if operator == "**" or isinstance(left, (str, list, tuple)) or isinstance(right, (str, list, tuple)):
            raise jinja2.exceptions.SecurityError(f"operator {operator} is not available")
        return super().call_binop(context, operator, left, right)


def _shown(value: t.Any) -> str:
    """What `{{ }}` puts into a text. Newlines of a value become spaces: only the catalogue decides where a line ends."""
    if value is None or isinstance(value, jinja2.Undefined):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, (list, tuple, set)):
        return clean_line(", ".join(_shown(item) for item in value))
    return clean_line(value)


def _number_filter(shape: t.Callable[[float], str]) -> t.Callable[[t.Any], t.Any]:
    def apply(value: t.Any) -> t.Any:
        return value if value is None or isinstance(value, jinja2.Undefined) else shape(float(value))

    return apply


def _environment(undefined: type[jinja2.Undefined], finalize: t.Callable[[t.Any], str] | None) -> _Sandbox:
    env = _Sandbox(undefined=undefined, finalize=finalize, autoescape=False, keep_trailing_newline=False, trim_blocks=True)
    env.globals = {"range": env.globals["range"]}
    env.filters = {name: function for name, function in env.filters.items() if name not in ("random", "xmlattr", "pprint")}
    # French counts octets, with a comma: 1,5 Go.
    env.filters.update(octets=_number_filter(lambda size: human_bytes(size).replace(".", ",").replace("B", "o")))
    env.filters.update(bytes=_number_filter(human_bytes), duration=_number_filter(human_duration))
    return env


_STRICT = _environment(jinja2.StrictUndefined, None)
_TEXT = _environment(_Lenient, _shown)


def check(source: str, *, text: bool, item: bool = False, signatures: t.Container[str] = (), issue: str = "", fleet: bool = False) -> None:
    """Raise ExpressionError for what would only fail later, on somebody's server: syntax, names, filters, signatures."""
    if text and "{" not in source:
        return
    tree = _parse(source, text=text)
    allowed = (FLEET_NAMES if fleet else FACT_NAMES | FUNCTIONS) | ({"item"} if item else set())
    names = list(tree.find_all(jinja2.nodes.Name))
    # What a text sets itself (a loop's variable) is not asked for. jinja2.meta knows better, but compiles the whole text to find out.
    own = {node.name for node in names if node.ctx != "load"} | {"loop"}
    for name in sorted({node.name for node in names} - own):
        if name not in allowed and name not in _TEXT.globals:
            known = "hosts, of which each has the facts and its name, and instance" if fleet else ", ".join(sorted(FACT_NAMES))
            raise ExpressionError(f'"{name}" is not the name of a fact (facts are {known})')
    for node in tree.find_all((jinja2.nodes.Filter, jinja2.nodes.Test, jinja2.nodes.Call, jinja2.nodes.Include, jinja2.nodes.Import)):
        if isinstance(node, jinja2.nodes.Filter) and node.name not in _TEXT.filters:
            raise ExpressionError(f'there is no filter "{node.name}"')
        if isinstance(node, jinja2.nodes.Test) and node.name not in _TEXT.tests:
            raise ExpressionError(f'there is no test "{node.name}"')
        if isinstance(node, jinja2.nodes.Call):
            _check_call(node, signatures, issue)
        if isinstance(node, (jinja2.nodes.Include, jinja2.nodes.Import)):
            raise ExpressionError("a known issue may not include other templates")


def _check_call(node: jinja2.nodes.Call, signatures: t.Container[str], issue: str) -> None:
    if not isinstance(node.node, jinja2.nodes.Name) or node.node.name not in FUNCTIONS:
        return
    if len(node.args) != 1 or not isinstance(node.args[0], jinja2.nodes.Const) or not isinstance(node.args[0].value, str):
        raise ExpressionError(f"{node.node.name}() takes one quoted name")
    argument = node.args[0].value
    if node.node.name in ("seen", "fresh", "age") and (argument if "." in argument else f"{issue}.{argument}") not in signatures:
        raise ExpressionError(f'{node.node.name}("{argument}") names no signature of the catalogue')
    if node.node.name == "units" and argument not in ROLES:
        raise ExpressionError(f'units("{argument}") names no role (roles are {", ".join(ROLES)})')
    if node.node.name == "probe" and argument not in FACT_NAMES:
        raise ExpressionError(f'probe("{argument}") names no subset')


def _parse(source: str, *, text: bool) -> jinja2.nodes.Template:
    try:
        # The parentheses keep "a }} b" from closing the expression early and becoming text.
        return _TEXT.parse(source) if text else _STRICT.parse("{{ (" + source + "\n) }}")
    except jinja2.TemplateError as error:
        raise ExpressionError(f"not valid Jinja2: {clean_line(error.message)}") from None


@functools.lru_cache(maxsize=4096)
def subsets_of(source: str) -> tuple[str, ...]:
    """The subsets an expression reads, in the order of appearance."""
    names = dict.fromkeys(node.name for node in _parse(source, text=False).find_all(jinja2.nodes.Name) if node.ctx == "load")
    return tuple(_FUNCTION_SUBSET.get(name, name) for name in names)


@functools.lru_cache(maxsize=4096)
def _expression(source: str) -> jinja2.environment.TemplateExpression:
    return _STRICT.compile_expression("(" + source + "\n)", undefined_to_none=False)


@functools.lru_cache(maxsize=4096)
def _template(source: str) -> jinja2.Template:
    return _TEXT.from_string(source)


def branch(facts: t.Any, *path: str) -> dict[str, t.Any]:
    """The mapping at a path of the facts; empty when there is none, or when a stranger's facts hold something else there."""
    for part in path:
        facts = facts.get(part) if isinstance(facts, dict) else None
    return facts if isinstance(facts, dict) else {}


def entries(value: t.Any) -> list[t.Any]:
    """A list of the facts, or none."""
    return value if isinstance(value, list) else []


class Scope:
    """The facts of one host as the expressions of one known issue see them."""

    def __init__(self, facts: t.Mapping[str, t.Any], issue: str, origins: t.Mapping[str, t.Sequence[str]] | None = None) -> None:
        """`origins`: where each signature of the issue is looked for, so that logs nobody read do not pass for silent ones."""
        self._issue = issue
        self._origins = origins or {}
        self._facts = facts
        self._names: dict[str, t.Any] = {name: value for name, value in facts.items() if name in FACT_NAMES}
        self._names.update(seen=self.seen, fresh=self.fresh, age=self.age, units=self.units, probe=self.probe)

    def signature(self, name: str) -> t.Any:
        logs = branch(self._facts, "logs")
        if not isinstance(logs.get("signatures"), dict):
            raise jinja2.UndefinedError("logs were not read")
        read = logs.get("read_origins")
        if isinstance(read, list):
            here = {str(role) for role in entries(branch(self._facts, "install").get("roles"))} | {"kernel", "system"}
            wanted = here & set(self._origins.get(name, ()))
            if wanted and not wanted & {str(origin) for origin in read}:
                raise jinja2.UndefinedError(f"no log of {' or '.join(sorted(wanted))} was read")
        return logs["signatures"].get(name if "." in name else f"{self._issue}.{name}") or {}

    def seen(self, name: str) -> int:
        """How often the log lines of a signature were seen; undecided when no log could be read."""
        return int(self.signature(name).get("count", 0))

    def fresh(self, name: str) -> int:
        """Like seen, but 0 when the services that logged it were started again since: what they met then may be mended.

        One that systemd keeps starting again by itself is not mended by that; it counts as started when it has been up for a while.
        """
        signature = self.signature(name)
        roles = {sample.get("origin") for sample in signature.get("samples", ())} & set(ROLES)
        units = (self._facts.get("services") or {}).get("units") or ()
        settled = float(self._facts.get("time_epoch", 0)) - SETTLED_SECONDS
        started = [
            unit["since_epoch"]
            for unit in units
            if unit.get("role") in roles and "pid" in unit and "since_epoch" in unit
            if not unit.get("restarts") or unit["since_epoch"] < settled
        ]
        return int(signature.get("count", 0)) if not started or signature.get("last_epoch", 0) >= max(started) else 0

    def age(self, name: str) -> float:
        """Seconds between the last line of a signature and the observation; very many when there was none."""
        last = self.signature(name).get("last_epoch")
        return max(0.0, float(self._facts.get("time_epoch", 0)) - float(last)) if last else NEVER_SECONDS

    def units(self, role: str) -> list[t.Any]:
        services = branch(self._facts, "services")
        if not isinstance(services.get("units"), list):
            raise jinja2.UndefinedError("services were not read")
        return [unit for unit in services["units"] if isinstance(unit, dict) and unit.get("role") == role]

    def probe(self, subset: str) -> str:
        """State of a subset; "skipped" for one this host does not know."""
        return str(branch(self._facts, "probes", subset).get("state", "skipped"))

    def condition(self, source: str, item: t.Any = None) -> bool:
        """Answer of a condition, or Undecided when a fact is absent or of a kind the expression cannot use."""
        try:
            result = _expression(source)(**self._names, **({} if item is None else {"item": item}))
            if isinstance(result, jinja2.Undefined):
                raise Undecided
            return bool(result)
        except jinja2.UndefinedError as error:
            raise Undecided(clean_line(error.message)) from None
        except Undecided:
            raise
        except Exception as error:  # a stranger's value of an unforeseen kind must cost this one answer only
            raise Undecided(f"{type(error).__name__}: {clean_line(error, 120)}") from None

    def items(self, source: str) -> list[t.Any]:
        """The list an `each` names; empty when it cannot be had."""
        try:
            result = _expression(source)(**self._names)
            values: t.Any = result.items() if isinstance(result, dict) else result
            return [value for _number, value in zip(range(_MOST_ITEMS), values, strict=False)]
        except Exception:  # no evidence is better than no diagnosis
            return []

    def text(self, source: str, item: t.Any = None) -> str:
        """A rendered text, cleaned; empty when these facts do not allow it."""
        return self._rendered(source, item=item)

    def told(self, source: str) -> str:
        """Title and advice, which need no fact: services that nobody looked at are none, and the text names the usual ones; what no
        log was read for was not seen."""
        return self._rendered(source, units=self._known_units, seen=self._known_seen)

    def _rendered(self, source: str, **also: t.Any) -> str:
        if "{" not in source:
            return clean_text(source)
        try:
            return clean_text(_template(source).render(self._names, **also))
        except Exception:  # as in items
            return ""

    def _known_seen(self, name: str) -> int:
        try:
            return self.seen(name)
        except jinja2.UndefinedError:
            return 0

    def _known_units(self, role: str) -> list[t.Any]:
        try:
            return self.units(role)
        except jinja2.UndefinedError:
            return []

    def has(self, path: str) -> bool:
        """Whether a fact of this path is there. null counts as there: it is an answer."""
        value: t.Any = self._facts
        for part in path.split("."):
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return True


class FleetScope(Scope):
    """The facts of the hosts of one instance as the expressions of a known issue of scope fleet see them."""

    def __init__(self, hosts: t.Mapping[str, t.Mapping[str, t.Any]], instance: t.Mapping[str, t.Any], issue: str) -> None:
        super().__init__({}, issue)
        self._names = {"hosts": [{**facts, "name": name} for name, facts in hosts.items()], "instance": instance}

    def has(self, path: str) -> bool:
        """Every host that the expressions see has what the issue needs."""
        return True
