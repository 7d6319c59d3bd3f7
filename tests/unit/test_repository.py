# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""House rules that no linter knows, over every tracked file."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
LOCK_FILES = {"package-lock.json", "Gemfile.lock"}
# Formats that have no comments, or whose comments a tool writes.
WITHOUT_HEADER = {".json", ".lock", ".md", ".txt"}
WITHOUT_HEADER_NAMES = {"LICENSE", ".ruby-version"}
RECORDED = ("tests/corpus/", "tests/unit/fixtures/", "inventories/demo/")
SKIPS = ("skip", "skipif", "skipunless", "skiptest", "xfail", "importorskip")


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60).stdout


FILES = [path for path in (ROOT / name for name in run("git", "ls-files", "-z").split("\0") if name) if path.is_file()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str | None:
    """The text of a file; None for a binary one."""
    data = path.read_bytes()
    return None if b"\0" in data[:8192] else data.decode("utf-8", "replace")


def test_the_files_are_listed() -> None:
    assert {"galaxy.yml", "tests/unit/test_repository.py"} <= {name_of(path) for path in FILES}


def test_every_file_names_its_licence() -> None:
    missing = []
    for path in FILES:
        name, text = name_of(path), text_of(path)
        if not text or path.name in WITHOUT_HEADER_NAMES or name.startswith(RECORDED):
            continue
        if path.suffix in WITHOUT_HEADER and not name.startswith("requirements"):
            continue
        head = "\n".join(text.splitlines()[:8])
        wanted = ["Copyright: fediops.mastodon contributors", "SPDX-License-Identifier: GPL-3.0-or-later"]
        if path.suffix == ".py":
            wanted.append("GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)")
        if not all(line in head for line in wanted):
            missing.append(name)
    assert missing == []


def test_no_file_is_too_long() -> None:
    too_long = {}
    for path in FILES:
        if path.suffix in {".py", ".yml", ".js", ".j2"} and path.name not in LOCK_FILES:
            lines = (text_of(path) or "").count("\n")
            if lines > MAX_LINES:
                too_long[name_of(path)] = lines
    assert too_long == {}


def machine_names() -> list[str]:
    """What must not be committed, read off the machine itself: its folders and the hosts its package clients are set to."""
    addresses = run("apt-get", "indextargets", "--format", "$(SITE)").split()
    addresses += run("npm", "config", "get", "registry").split()
    for key in ("index-url", "extra-index-url"):
        addresses += run("python3", "-m", "pip", "config", "get", f"global.{key}").split()
        addresses += os.environ.get("PIP_" + key.replace("-", "_").upper(), "").split()
    hosts = {urlsplit(address).hostname or "" for address in addresses}
    folders = {str(Path.home() / ".pyenv"), str(ROOT.parent / "shared")}
    if len(ROOT.parts) > 2:  # a checkout directly under / has a name that any text may hold
        folders.add(str(ROOT))
    return sorted(hosts - {"", "localhost"} | folders)


def test_no_file_names_this_machine() -> None:
    names = re.compile("|".join(map(re.escape, machine_names())))
    found = []
    for path in FILES:
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            match = names.search(line)
            if match:
                found.append(f"{name_of(path)}:{number}: {match.group()}")
    assert found == []


@pytest.mark.parametrize("path", sorted(ROOT.glob("plugins/modules/*.py")), ids=lambda path: path.stem)
def test_every_module_is_documented(path: Path) -> None:
    texts = {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    documentation = yaml.safe_load(texts["DOCUMENTATION"])
    assert documentation["module"] == path.stem
    assert documentation["short_description"]
    assert yaml.safe_load(texts["EXAMPLES"])
    assert yaml.safe_load(texts["RETURN"])


def test_modules_are_in_the_action_group() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert sorted(runtime["action_groups"]["mastodon"]) == sorted(path.stem for path in ROOT.glob("plugins/modules/*.py"))


def test_no_test_is_skipped() -> None:
    found = []
    for path in sorted(ROOT.glob("tests/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name.lower() in SKIPS:
                found.append(f"{name_of(path)}:{node.lineno}: {name}")
    assert found == []


def test_ignore_files_are_empty() -> None:
    ignores = sorted(ROOT.glob("tests/sanity/ignore-*.txt"))
    assert len(ignores) == 5
    assert [path.name for path in ignores if path.read_bytes()] == []
