# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt-get's rehearsal, as Debian 12 and 13 print it."""

from __future__ import annotations

import types
import typing as t

import pytest

from ansible_collections.fediops.mastodon.plugins.module_utils._change.disk import Refused
from ansible_collections.fediops.mastodon.plugins.module_utils._fix import _packages, install_media_tools
from ansible_collections.fediops.mastodon.plugins.module_utils._fix._packages import Plan, parsed

REINSTALLED = """Building dependency tree...
0 upgraded, 0 newly installed, 1 reinstalled, 0 to remove and 0 not upgraded.
Inst ffmpeg [7:7.1.5-0+deb13u1] (7:7.1.5-0+deb13u1 Debian:13.7/stable, Debian-Security:13/stable-security [amd64])
Conf ffmpeg (7:7.1.5-0+deb13u1 Debian:13.7/stable, Debian-Security:13/stable-security [amd64])
"""
NEW = """Remv libold [1]
Inst libmagickwand-7.q16-10 (8:7.1.1.43+dfsg1-1+deb13u14 Debian-Security:13/stable-security [amd64])
Inst libc6:i386 (2 Debian [i386])
Inst tzdata [1] (2 Debian [all]) [broken:amd64 ]
Conf libmagickwand-7.q16-10 (8:7.1.1.43 Debian-Security:13/stable-security [amd64])
"""


@pytest.mark.parametrize(
    ("out", "err", "rc", "expected"),
    [
        (REINSTALLED, "", 0, Plan([], ["ffmpeg"], [], "")),
        (NEW, "", 0, Plan(["libmagickwand-7.q16-10", "libc6:i386"], ["tzdata"], ["libold"], "")),
        ("", "E: Unable to locate package ffmpeg\n", 100, Plan([], [], [], "Unable to locate package ffmpeg")),
        (
            "",
            "E: Package 'libvips42' has no installation candidate\n",
            100,
            Plan([], [], [], "Package 'libvips42' has no installation candidate"),
        ),
        (
            "Reinstallation of ffmpeg is not possible, it cannot be downloaded.\n",
            "",
            0,
            Plan([], [], [], "Reinstallation of ffmpeg is not possible, it cannot be downloaded."),
        ),
        ("Inst --purge (1)\nInst ../x (1)\n", "", 0, Plan([], [], [], "")),
        ("", "", None, Plan([], [], [], "apt-get gave no answer")),
    ],
)
def test_rehearsal(out: str, err: str, rc: int | None, expected: Plan) -> None:
    assert parsed(out, err, rc) == expected


def change(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, **settings: str) -> t.Any:
    monkeypatch.setattr(_packages, "installed", lambda host: installed)
    monkeypatch.setattr(_packages, "package_with", lambda host, name: {"libx264.so.164": "libx264-164"}.get(name, ""))
    monkeypatch.setattr(_packages, "rehearse", lambda host, names: Plan(names, [], [], "" if "t64" not in names[0] else "Unable to locate"))
    host = types.SimpleNamespace(is_executable=lambda path: path == "/opt/ffmpeg/bin/ffmpeg")
    return types.SimpleNamespace(host=host, install={"_environment": settings}, owner=lambda: types.SimpleNamespace(home="/home/mastodon"))


def tool(name: str, found: bool = False, error: str = "") -> dict[str, t.Any]:
    return {"name": name, "required": True, "found": found, "works": False, "error": error}


@pytest.mark.parametrize(
    ("installed", "broken", "expected"),
    [
        ({}, [tool("ffmpeg"), tool("ffprobe")], ["ffmpeg"]),
        ({"ffmpeg": "ii"}, [tool("ffmpeg")], ["ffmpeg"]),
        ({"ffmpeg": "rc"}, [tool("ffmpeg")], ["ffmpeg"]),
        (
            {"imagemagick": "ii", "imagemagick-6.q16": "ii", "imagemagick-6-common": "ii"},
            [tool("convert"), tool("identify")],
            ["imagemagick", "imagemagick-6.q16"],
        ),
        ({}, [tool("libvips.so.42")], ["libvips42"]),
        (
            {"ffmpeg": "ii"},
            [tool("ffmpeg", True, "ffmpeg: error while loading shared libraries: libx264.so.164: cannot open")],
            ["libx264-164"],
        ),
        ({"ffmpeg": "ii"}, [tool("ffmpeg", True, "error while loading shared libraries: libgone.so.1: x")], ["ffmpeg"]),
    ],
)
def test_which_packages(
    installed: dict[str, str], broken: list[dict[str, t.Any]], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install_media_tools._wanted(change(installed, monkeypatch), broken) == expected


def test_no_package_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused, match=r"/opt/ffmpeg/bin/ffmpeg, which is not on the PATH of the service \(/usr/bin\)"):
        install_media_tools._refuse_settings(change({}, monkeypatch, PATH="/usr/bin"), tool("ffmpeg"))
    with pytest.raises(Refused, match="FFMPEG_BINARY is set"):
        install_media_tools._refuse_settings(change({}, monkeypatch, FFMPEG_BINARY="/x"), tool("ffmpeg"))
    install_media_tools._refuse_settings(change({}, monkeypatch, PATH="/opt/ffmpeg/bin"), tool("ffmpeg"))
    install_media_tools._refuse_settings(change({}, monkeypatch), tool("ffprobe"))


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ("", "apt-get cannot install ntp: no candidate"),
        ("not signed", "set it: apt-get cannot install ntp: no candidate; apt-get update: not signed"),
    ],
)
def test_why_there_was_no_package(failed: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_packages, "rehearse", lambda host, names: Plan([], [], [], "no candidate"))
    monkeypatch.setattr(_packages, "_update", lambda change: failed)
    with pytest.raises(Refused) as refused:
        _packages.install(t.cast("t.Any", types.SimpleNamespace(host=None, check_mode=False)), ["ntp"], 1.0, "set it")
    assert str(refused.value) == told
