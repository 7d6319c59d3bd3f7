# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Media tools come back from the distribution's archive, and what was installed for them goes with the rollback.

A box has the sources of the machine's own mirror (tests/testbed/base), and needs the network to reach it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from live import SUITES, Box
from one_fix import apply, foresee, plant, roll_back
from proof import differences, picture, png, prove

SELECTIONS = "dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\\n'"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_image_library_and_ffmpeg_are_put_back(suite: str, tmp_path: Path) -> None:
    """Their packages are installed, their files are gone."""
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path, "image_library_missing")
        plant(box, tmp_path, "ffmpeg_missing")
        before = picture(box)
        foreseen = foresee(box, tmp_path, "install_media_tools")
        assert foreseen["state"] == "applied" and foreseen["changes"], foreseen
        assert differences(before, picture(box)) == []
        step, _run = apply(box, tmp_path, "install_media_tools")
        assert (step["state"], step["problems"], step["not_in_effect"]) == ("kept", [], ""), step
        prove(box)
        box.run("ffmpeg -version && ffprobe -version", "mastodon")
        again, _run = apply(box, tmp_path, "install_media_tools")
        assert (again["state"], again["changes"]) == ("nothing", []), again


@pytest.mark.thorough
def test_what_was_added_goes_and_nothing_else(tmp_path: Path) -> None:
    """The package itself is not installed; apt has no lists yet."""
    with Box.start("bookworm") as box:
        box.ready()
        box.run("apt-get -y --auto-remove purge imagemagick 'imagemagick-6*' ffmpeg && rm -rf /var/lib/apt/lists/*", timeout=300)
        before = box.run(SELECTIONS).out
        step, run = apply(box, tmp_path, "install_media_tools")
        assert (step["state"], step["problems"], step["not_in_effect"]) == ("kept", [], ""), step
        assert box.upload(png(), "pixel.png", api="v1").status == 200
        assert box.run(SELECTIONS).out != before
        rolled = roll_back(box, tmp_path, run)
        assert (rolled["state"], rolled["reason"]) == ("rolled_back", ""), rolled
        assert box.run(SELECTIONS).out == before


def test_a_path_is_no_matter_of_packages(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.run("mkdir -p /opt/ffmpeg/bin && mv /usr/bin/ffmpeg /opt/ffmpeg/bin/")
        before = picture(box)
        step, _run = apply(box, tmp_path, "install_media_tools")
        assert step["state"] == "refused" and "/opt/ffmpeg/bin/ffmpeg, which is not on the PATH of the service" in step["reason"], step
        assert differences(before, picture(box)) == []
