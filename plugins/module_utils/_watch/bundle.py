# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of the watch as one file: the module_utils of this collection that it needs, never a second copy of their logic (private).

Built on the host from the very files that Ansible brought along with the module. Nothing in it depends on when or where it was built, so
the second run finds nothing to change.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import zipfile

from typing import Dict, List, Set

ROOT = "ansible_collections.fediops.mastodon.plugins.module_utils"
START = ROOT + "._watch.main"
_DATE = (1980, 1, 1, 0, 0, 0)
_MAIN = (
    """import sys

from %s import main

sys.exit(main(sys.argv[1:]))
"""
    % START
)


def build() -> bytes:
    """The zip; `python3 -I FILE observe` runs it."""
    sources = closure()
    names = {"/".join(name.split(".")) + ".py": text for name, text in sources.items()}
    packages = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
    names.update({package + "/__init__.py": "" for package in packages})
    names["__main__.py"] = _MAIN
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as bundle:  # stored: zlib's output differs between its versions
        for name in sorted(names):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            bundle.writestr(info, names[name].encode("utf-8"))
    return out.getvalue()


def closure(start: str = START) -> Dict[str, str]:
    """Source by name of all modules of ours that `start` imports, wherever the import stands."""
    sources: Dict[str, str] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        text = _source(name)
        if text is None:
            continue
        sources[name] = text
        waiting += sorted(_imported(text) - set(sources))
    return sources


def _imported(text: str) -> Set[str]:
    found: List[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [node.module] + [node.module + "." + alias.name for alias in node.names]
    return {name for name in found if name.startswith(ROOT + ".")}


def _source(name: str) -> str | None:
    """None for what is no module of its own: a name inside a module, a package without content."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    get_source = getattr(spec.loader, "get_source", None) if spec is not None else None
    if spec is None or get_source is None or spec.submodule_search_locations is not None:
        return None
    text = get_source(name)
    return text.decode("utf-8") if isinstance(text, bytes) else text if isinstance(text, str) else None  # Ansible's own loader gives bytes
