# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of known issues: found, read, checked as a whole. Private to this collection."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils._issue_values import IssueError
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import KnownIssue, check_expressions, read_issue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

# Relative to this file, so that it is found in a checkout, an installed collection and an execution environment alike.
OWN_DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "roles" / "diagnose" / "files" / "known_issues"
MAX_FILE_BYTES = 65_536
MAX_FILES = 500

Catalogue = dict[str, KnownIssue]


class CatalogueError(Mistake):
    """One sentence: which file, which key, what is wrong and what is allowed."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain YAML, but a key given twice is an error instead of a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[t.Any, t.Any]:
        seen: set[str] = set()
        for key_node, _value in node.value:
            key = str(key_node.value)
            if key == "<<":
                raise IssueError("<<", "merging is not allowed here; write the keys out")
            if key in seen:
                raise IssueError(clean_line(key, 80), f"is given twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        return t.cast("dict[t.Any, t.Any]", super().construct_mapping(node, deep=deep))


def load(user_directories: t.Iterable[str] = (), own_directory: pathlib.Path = OWN_DIRECTORY) -> Catalogue:
    """Every known issue by id. A user's file replaces ours of the same id; a later directory replaces an earlier one.

    The expressions of a user's are checked here. Those of ours are by the tests of this collection: it takes longer than all
    else that is done to read them, on every run of everybody.
    """
    catalogue: Catalogue = {}
    files: dict[str, pathlib.Path] = {}
    for directory in (own_directory, *(pathlib.Path(name).expanduser() for name in user_directories)):
        for path in _files(directory):
            issue = _read(path)
            catalogue[issue.id], files[issue.id] = issue, path
    known = signatures(catalogue)
    for name, issue in catalogue.items():
        try:
            _check_targets(issue, catalogue)
            if files[name].parent != OWN_DIRECTORY:
                check_expressions(issue, known)
        except IssueError as error:
            raise CatalogueError(f"known issue {files[name]}, {error}") from None
    _check_acyclic(catalogue, files)
    return dict(sorted(catalogue.items()))


def signatures(catalogue: Catalogue) -> dict[str, dict[str, t.Any]]:
    """What the host is to look for in its logs."""
    return {f"{issue.id}.{name}": dict(value) for issue in catalogue.values() for name, value in issue.signatures.items()}


def _files(directory: pathlib.Path) -> list[pathlib.Path]:
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in (".yml", ".yaml") and not path.name.startswith("."))
    except OSError as error:
        raise CatalogueError(f"directory of known issues {directory} cannot be read: {error.strerror}") from None
    for path in files:
        if path.suffix == ".yaml":
            raise CatalogueError(f"known issue {path}, file name: must end in .yml")
    if len(files) > MAX_FILES:
        raise CatalogueError(f"directory of known issues {directory} has more than {MAX_FILES} files")
    return files


def _read(path: pathlib.Path) -> KnownIssue:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise IssueError("(whole file)", f"is larger than {MAX_FILE_BYTES} bytes")
        return read_issue(yaml.load(content.decode("utf-8"), Loader=_Loader), path.stem)  # noqa: S506  a safe loader
    except IssueError as error:
        raise CatalogueError(f"known issue {path}, {error}") from None
    except OSError as error:
        raise CatalogueError(f"known issue {path}, cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CatalogueError(f"known issue {path}, byte {error.start}: is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise CatalogueError(f"known issue {path}, line {line}: is not valid YAML ({clean_line(error.problem, 120)})") from None
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise CatalogueError(f"known issue {path}, cannot be read as YAML: {clean_line(error, 120)}") from None


def _check_targets(issue: KnownIssue, catalogue: Catalogue) -> None:
    for target in issue.explains:
        if target not in catalogue:
            raise IssueError("explains", f'"{clean_line(target, 80)}" is not the id of a known issue')


def _check_acyclic(catalogue: Catalogue, files: dict[str, pathlib.Path]) -> None:
    """Two issues that explain each other would leave no root cause."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join((*path[path.index(name) :], name))
            raise CatalogueError(f'known issue {files[name]}, key "explains": goes in a circle ({circle}); remove one of these')
        if name in done:
            return
        for target in catalogue[name].explains:
            if target != name:  # found where it is served, it explains itself where it is used
                visit(target, (*path, name))
        done.add(name)

    for name in catalogue:
        visit(name, ())
