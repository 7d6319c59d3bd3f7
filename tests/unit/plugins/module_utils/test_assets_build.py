# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build of the assets: what it needs, why it failed, and when none is needed."""

from __future__ import annotations

import json
import pathlib
import types
import typing as t

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _app, _build, _build_needs, rebuild_assets
from ansible_collections.fediops.mastodon.plugins.module_utils._host import Host, Owner
from ansible_collections.fediops.mastodon.plugins.module_utils._pipes import Completed

GIB = 1 << 30


@pytest.mark.parametrize(
    ("printed", "result", "rc", "kernel", "why", "memory"),
    [
        ("Unexpected token in a.css\nBuild with Vite failed!", "exit-code", 1, "", "it said: Unexpected token in a.css", False),
        ("Compilation failed:\n\n", "exit-code", 1, "", "without a word", True),
        ("Compilation failed:\nError: spawn ENOMEM\n", "exit-code", 1, "", "it ran out of memory (Error: spawn ENOMEM)", True),
        (
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "exit-code",
            134,
            "",
            "heap out of memory",
            True,
        ),
        ("Compiling...\nKilled", "exit-code", 137, "", "it was killed", True),
        ("error Command failed with exit code 137.", "exit-code", 1, "", "it was killed", True),
        ("Compiling...", "oom-kill", 1, "", "says systemd", True),
        ("Compiling...", "signal", 1, "Out of memory: Killed process 7 (node)", "the kernel killed it", True),
        ("Compiling...", "timeout", 1, "", "not done within 60 s", False),
        ("Compiling...", "", None, "", "not done within 60 s", False),
        ("", "exit-code", 1, "", "it said: nothing", False),
        ("A file named heap of memory 137 pages\nNoMethodError: x", "exit-code", 1, "", "it said: NoMethodError: x", False),
    ],
)
def test_why_a_build_failed(printed: str, result: str, rc: int | None, kernel: str, why: str, memory: bool) -> None:
    told = _build.reason(printed, result, rc, kernel, 60)
    assert why in told[0] and told[1] == memory, told


def test_words_of_systemd_run_are_not_the_builds() -> None:
    output = "Running as unit: x.service\nCompiling\nFinished with result: exit-code\nMain processes terminated with: code=exited\n"
    assert _build._printed(output) == "Compiling"


def test_environment_file_keeps_any_value(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_build, "ENVIRONMENTS", str(tmp_path))
    _build._keep(str(tmp_path / "x.env"), {"A": 'a"b\\c$d`e', "B": "plain"})
    assert (tmp_path / "x.env").read_text() == 'A="a\\"b\\\\c\\$d\\`e"\nB="plain"\n'
    assert (tmp_path / "x.env").stat().st_mode & 0o777 == 0o600


def change(**facts: t.Any) -> t.Any:
    host = Host(float("inf"))
    return types.SimpleNamespace(
        facts=facts,
        host=host,
        options={},
        issues=[],
        install={"version": {"number": [4, 4, 22]}},
        owner=lambda: Owner("mastodon", 1000, 1000, "/home/mastodon", "/bin/bash"),
    )


def memory(available: float, swap: float = 0) -> dict[str, t.Any]:
    return {
        "available_bytes": int(available * GIB),
        "swap_free_bytes": int(swap * GIB),
        "ram_bytes": 2 * GIB,
        "swap_bytes": int(swap * GIB),
    }


@pytest.mark.parametrize(
    ("bundler", "available", "swap", "refused"),
    [
        ("webpacker", 0.9, 0, True),
        ("webpacker", 0.9, 1, False),
        ("webpacker", 1.1, 0, False),
        ("vite", 0.7, 0, True),
        ("vite", 0.8, 0, False),
    ],
)
def test_too_little_memory_is_refused_with_numbers(bundler: str, available: float, swap: float, refused: bool) -> None:
    subject = change(memory=memory(available, swap))
    if not refused:
        _build_needs.require_memory(subject, bundler)
        return
    with pytest.raises(
        Refused, match=r"takes about [\d.]+ GiB of memory, and \d+ MiB of memory and 0 bytes of swap are free: add swap first"
    ):
        _build_needs.require_memory(subject, bundler)


def test_unknown_memory_is_not_enough_memory() -> None:
    with pytest.raises(Refused, match="is not known: timed out"):
        _build_needs.require_memory(change(probes={"memory": {"reason": "timed out"}}), "vite")


@pytest.mark.parametrize(
    ("engines", "version", "refused"),
    [
        (">=20", "v20.19.2", False),
        (">=20", "v18.20.4", True),
        (">=20.19", "v20.18.0", True),
        ("^18 || >=20", "v18.1.0", False),
        ("", "v4.0.0", False),
        (">=14", "", True),
        (">=14", "not a version", True),
    ],
)
def test_node_of_the_release(engines: str, version: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = change()
    monkeypatch.setattr(subject.host, "run", lambda *_arguments: Completed(0, version.encode(), b"", False))
    try:
        _build_needs.require_node(subject, engines, {"PATH": "/usr/bin"})
    except Refused:
        assert refused
    else:
        assert not refused


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"engines": {"node": ">=20"}, "packageManager": "yarn@4.9.2", "dependencies": {"a": "1"}}, (">=20", 4, True)),
        ({"packageManager": "yarn@1.22.22"}, ("", 1, False)),
        ({"devDependencies": {"a": "1"}, "engines": []}, ("", 4, True)),
        ([], ("", 4, False)),
    ],
)
def test_package_json(text: t.Any, expected: tuple[str, int, bool], tmp_path: pathlib.Path) -> None:
    (tmp_path / "package.json").write_text(json.dumps(text))
    assert tuple(_build_needs.package(change(), str(tmp_path))) == expected


def test_package_json_that_is_none(tmp_path: pathlib.Path) -> None:
    with pytest.raises(Refused, match="the checkout is not whole"):
        _build_needs.package(change(), str(tmp_path))


@pytest.mark.parametrize(
    "output",
    [
        "Error: Cannot find module 'vite'",
        "Your Yarn packages are out of date! Please run `yarn install`",
        "Usage Error: Couldn't find the node_modules state file - running an install might help",
    ],
)
def test_the_bundler_asks_for_modules(output: str) -> None:
    assert _build_needs.asks_for_modules(output)
    assert not _build_needs.asks_for_modules("Unexpected token in application.css")


WHOLE = {"manifest": {"path": "p", "exists": True, "valid": True, "entries": 3}, "files_missing_count": 0, "stale": False}


@pytest.mark.parametrize(
    ("assets", "options", "issues", "why"),
    [
        (WHOLE, {}, [], ""),
        (WHOLE, {"force": "true"}, [], "asked for"),
        (WHOLE, {}, ["assets_missing"], "lacks what the code asks for"),
        (dict(WHOLE, web_older_than_build=True), {}, ["assets_missing", "assets_stale"], ""),
        (dict(WHOLE, manifest={"path": "p", "exists": False}), {}, [], "p is not there"),
        (dict(WHOLE, manifest={"path": "p", "exists": True, "valid": False, "entries": 0}), {}, [], "p is not a manifest"),
        (dict(WHOLE, files_missing_count=2), {}, [], "2 files"),
        (dict(WHOLE, stale=True, newest_source={"path": "app/x"}), {}, [], "app/x is newer"),
    ],
)
def test_when_a_build_is_needed(assets: dict[str, t.Any], options: dict[str, str], issues: list[str], why: str) -> None:
    found = rebuild_assets.wanted({"assets": assets}, options, issues)
    assert why in found and bool(why) == bool(found)


def test_unknown_assets_are_not_built() -> None:
    with pytest.raises(Refused, match="could not be looked at: denied"):
        rebuild_assets.wanted({"probes": {"assets": {"reason": "denied"}}}, {}, [])


def test_environment_of_a_build_is_the_services_without_what_is_its_alone() -> None:
    unit = {
        "role": "web",
        "shim": False,
        "_argv": [],
        "_env": {
            "LOCAL_DOMAIN": "x",
            "SECRET_KEY_BASE": "s",
            "LD_PRELOAD": "libjemalloc.so",
            "INVOCATION_ID": "1",
            "NODE_ENV": "development",
            "BUNDLE_GEMFILE": "/x",
            "RUBYOPT": "-r",
            "PORT": "3000",
            "a b": "c",
        },
    }
    owner = Owner("mastodon", 1000, 1000, "/home/mastodon", "/bin/bash")
    found = _app.environment({"units": [unit]}, owner, "/bin")
    assert found == {
        "LOCAL_DOMAIN": "x",
        "SECRET_KEY_BASE": "s",
        "RAILS_ENV": "production",
        "NODE_ENV": "production",
        "PATH": "/bin",
        "HOME": "/home/mastodon",
        "USER": "mastodon",
        "LOGNAME": "mastodon",
        "LANG": "C.UTF-8",
    }


@pytest.mark.parametrize("told", ["x", "0", "59", "21601", "1e3", " "])
def test_options_that_are_no_number(told: str) -> None:
    subject = change()
    subject.options = {"deadline_seconds": told}
    with pytest.raises(Refused, match="deadline_seconds is a whole number from 60 to 21600"):
        _app.number_of(subject, "deadline_seconds", 1800, 60, 21600)


@pytest.mark.parametrize(
    ("install", "why"),
    [
        ({"found": False}, "no Mastodon was found"),
        ({"found": True, "root": "/opt/mastodon", "deployment": "docker"}, "containers"),
        ({"found": True, "root": "/home/a b/live", "deployment": "systemd"}, "characters in its name"),
        ({"found": True, "root": "/home/a:b", "deployment": "systemd"}, "characters in its name"),
        ({"found": True, "root": "/home/%h", "deployment": "systemd"}, "characters in its name"),
    ],
)
def test_where_nothing_can_be_built(install: dict[str, t.Any], why: str) -> None:
    subject = change()
    subject.install = install
    with pytest.raises(Refused, match=why):
        _app.mastodon(subject)
