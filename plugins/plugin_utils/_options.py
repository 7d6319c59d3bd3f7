# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of the action plugins and variables of the roles, checked: a mistake becomes one sentence. Private to this collection."""

from __future__ import annotations

import difflib
import pathlib
import re
import typing as t

import yaml

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake

_ROLES = pathlib.Path(__file__).resolve().parents[2] / "roles"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


PLAYBOOK_VARIABLES = ("mastodon_hosts", "mastodon_become")  # of playbooks/, not of a role


class OptionError(Mistake):
    """One sentence about an option or a variable."""


def _validate(spec: dict[str, t.Any], values: dict[str, t.Any]) -> t.Any:
    return ArgumentSpecValidator(spec).validate(values)  # type: ignore[no-untyped-call]


def checked(spec: dict[str, t.Any], values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Values with defaults, converted to their types."""
    result = _validate(spec, dict(values))
    if result.error_messages:
        raise OptionError("; ".join(result.error_messages))
    return t.cast("dict[str, t.Any]", result.validated_parameters)


def check_role_variables(
    role: str, variables: t.Mapping[str, t.Any], template: t.Callable[[t.Any], t.Any], warn: t.Callable[[str], t.Any] = lambda _text: None
) -> None:
    """The variables of a role against its argument_specs: what Ansible does in a task of its own, at 15 ms a host."""
    if not re.match(r"[a-z_]+\Z", role):
        raise OptionError(f'validate_role: "{role}" is not the name of a role of this collection')
    try:
        content = (_ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    except OSError:
        raise OptionError(f'validate_role: there is no role "{role}" with an argument_specs.yml in this collection') from None
    spec = yaml.load(content, Loader=_LOADER)["argument_specs"]["main"]["options"]  # noqa: S506  a safe loader
    unknown = {name for name in variables if name.startswith("mastodon_")} - {*spec, *PLAYBOOK_VARIABLES}
    for name in sorted(unknown):
        meant = difflib.get_close_matches(name, [*spec, *PLAYBOOK_VARIABLES], 1)
        if meant:  # a variable of another role or of the user's own is nobody's mistake
            warn(f'there is no variable "{name}"; did you mean "{meant[0]}"?')
    present = {name: template(variables[name]) for name in spec if name in variables}
    result = _validate(spec, present)
    if result.error_messages:
        raise OptionError(f"variables of the role {role}: {'; '.join(result.error_messages)}")
