# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue of known issues: found, read, checked as a whole. Private to this collection."""

from __future__ import annotations

import functools
import pathlib
import typing as t

from ansible_collections.fediops.mastodon.plugins.plugin_utils import _own_files
from ansible_collections.fediops.mastodon.plugins.plugin_utils._issue_values import IssueError
from ansible_collections.fediops.mastodon.plugins.plugin_utils._known_issue import KnownIssue, check_expressions, read_issue
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

# Relative to this file, so that it is found in a checkout, an installed collection and an execution environment alike.
OWN_DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "roles" / "diagnose" / "files" / "known_issues"

Catalogue = dict[str, KnownIssue]
CatalogueError = _own_files.OwnFileError


def load(user_directories: t.Iterable[str] = (), own_directory: pathlib.Path = OWN_DIRECTORY) -> Catalogue:
    """Every known issue by id. A user's file replaces ours of the same id; a later directory replaces an earlier one.

    The expressions of a user's are checked here. Those of ours are by the tests of this collection: it takes longer than all
    else that is done to read them, on every run of everybody.
    """
    catalogue: Catalogue = {}
    files: dict[str, pathlib.Path] = {}
    for directory in (own_directory, *(pathlib.Path(name).expanduser() for name in user_directories)):
        for path in _own_files.files_in(directory, "known issue"):
            issue = _own_files.read(path, "known issue", functools.partial(read_issue, name=path.stem))
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
