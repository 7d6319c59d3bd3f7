# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML files in directories of a user's: known issues, waivers. Bounded and strict. Private to this collection."""

from __future__ import annotations

import pathlib
import typing as t

import yaml

from ansible_collections.fediops.mastodon.plugins.plugin_utils._issue_values import IssueError
from ansible_collections.fediops.mastodon.plugins.plugin_utils._mistake import Mistake
from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

MAX_FILE_BYTES = 65_536
MAX_FILES = 500


class OwnFileError(Mistake):
    """One sentence: which file, where in it, what is wrong and what is allowed."""


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


# What PyYAML raises for a file: KeyError and AttributeError for a tag with a value that it cannot be, such as !!bool maybe.
NOT_READABLE = (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, AttributeError)


def why(error: Exception) -> str:
    """What the user can mend."""
    return "a value does not fit its tag (!!…)" if isinstance(error, (KeyError, AttributeError)) else clean_line(error, 200)


def has_aliases(content: str) -> bool:
    """Whether the YAML repeats a part of itself by name: a few lines of such can stand for more text than memory holds."""
    return "*" in content and any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, Loader=_Loader))


def files_in(directory: pathlib.Path, what: str) -> list[pathlib.Path]:
    """The .yml files of a directory by name. ``what`` is in one of them, in the singular: "known issue"."""
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in (".yml", ".yaml") and not path.name.startswith("."))
    except OSError as error:
        raise OwnFileError(f"directory of {what}s {directory} cannot be read: {error.strerror}") from None
    for path in files:
        if path.exists() and not path.is_file():
            raise OwnFileError(f"{what} {path}: is not a file")
        if path.suffix == ".yaml":
            raise OwnFileError(f"{what} {path}, file name: must end in .yml")
    if len(files) > MAX_FILES:
        raise OwnFileError(f"directory of {what}s {directory} has more than {MAX_FILES} files")
    return files


T = t.TypeVar("T")


def read(path: pathlib.Path, what: str, make: t.Callable[[t.Any], T]) -> T:
    """What ``make`` gives for the content of a file; an IssueError of it is told with the name of the file."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise IssueError("(whole file)", f"is larger than {MAX_FILE_BYTES} bytes")
        written = content.decode("utf-8")
        if has_aliases(written):
            raise IssueError("(whole file)", "holds an alias (*name), which is not allowed here; write it out")
        return make(yaml.load(written, Loader=_Loader))  # noqa: S506  a safe loader
    except IssueError as error:
        raise OwnFileError(f"{what} {path}, {error}") from None
    except OSError as error:
        raise OwnFileError(f"{what} {path}, cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise OwnFileError(f"{what} {path}, byte {error.start}: is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise OwnFileError(f"{what} {path}, line {line}: is not valid YAML ({clean_line(error.problem, 120)})") from None
    except NOT_READABLE as error:
        raise OwnFileError(f"{what} {path}, cannot be read as YAML: {why(error)}") from None
