# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role's argument_specs and its defaults say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.parent.parent for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
PYTHON_TYPES = {"str": str, "path": str, "raw": object, "bool": bool, "int": int, "float": (int, float), "list": list, "dict": dict}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def entry_points() -> list[Any]:
    return [
        pytest.param(role, name, spec, id=f"{role.name}-{name}")
        for role in ROLES
        for name, spec in load(role / "meta" / "argument_specs.yml")["argument_specs"].items()
    ]


def test_every_role_has_a_spec() -> None:
    roles = sorted(path.parent.parent for path in ROOT.glob("roles/*/tasks/main.yml"))
    assert roles
    assert roles == ROLES


@pytest.mark.parametrize(("role", "name", "spec"), entry_points())
def test_defaults_match_spec(role: Path, name: str, spec: dict[str, Any]) -> None:
    path = role / "defaults" / f"{name}.yml"
    defaults = (load(path) if path.exists() else None) or {}
    options = spec.get("options", {})
    assert {key for key, option in options.items() if "default" in option} == set(defaults)
    for key, value in defaults.items():
        assert options[key]["default"] == value, key


@pytest.mark.parametrize(("role", "name", "spec"), entry_points())
def test_every_option_is_described_and_its_default_allowed(role: Path, name: str, spec: dict[str, Any]) -> None:
    assert spec.get("short_description")
    assert spec.get("description")
    for key, option in spec.get("options", {}).items():
        assert key.startswith("mastodon_"), f"{key}: public variables are named mastodon_*"
        assert option.get("description"), key
        assert option.get("type") in PYTHON_TYPES, key
        assert option["type"] != "list" or option.get("elements") in PYTHON_TYPES, f"{key}: elements"
        default = option.get("default")
        if default is None or (isinstance(default, str) and "{{" in default):
            continue
        assert isinstance(default, PYTHON_TYPES[option["type"]]), key
        assert option["type"] == "bool" or not isinstance(default, bool), key
        chosen = default if isinstance(default, list) else [default]
        assert set(chosen) <= set(option.get("choices", chosen)), key
