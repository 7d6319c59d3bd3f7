# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Full filesystems get room by what may be deleted and nothing else; what died of it comes back; media are Mastodon's again."""

from __future__ import annotations

import re

from pathlib import Path

import pytest

from live import ONE_SUITE, SUITES, Box
from one_fix import apply, foresee, module, plant, roll_back, use_memory
from proof import differences, picture, prove

LIVE_SYSTEM = "/home/mastodon/live/public/system"


def whole(box: Box) -> str:
    """Every path of the uploads and logs with size, owner and mode."""
    return box.run(f"find {LIVE_SYSTEM} /var/log -not -path '/var/log/journal/*' -not -name '*.log' -printf '%p %s %u:%g %m\\n' | sort").out


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("fault", ["media_filesystem_full", "media_inodes_used_up"])
def test_cached_media_make_room(fault: str, suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path / "plant", fault)
        box.run(f"touch -d '3 days ago' /var/log/elsewhere.log.1; du -s {LIVE_SYSTEM}")
        sick, files = picture(box), whole(box)
        foreseen = foresee(box, tmp_path, "reclaim_disk")
        assert foreseen["state"] == "applied" and "cached remote media older than 7 days" in foreseen["changes"][0]["what"], foreseen
        assert (differences(sick, picture(box)), whole(box)) == ([], files)

        step, run = apply(box, tmp_path, "reclaim_disk")
        assert (step["state"], step["problems"], step.get("not_in_effect", ""), step["undoable"]) == ("kept", [], "", False), step
        gone = set(files.splitlines()) - set(whole(box).splitlines())
        # The testbed's own eight, and those of the fault; a folder tells another size when it is empty.
        files_gone = {line.split()[0] for line in gone if box.run(["test", "-e", line.split()[0]], check=False).rc != 0}
        theirs = re.compile(r"/media_attachments/files/000/(900/\d{3}|000/00[1-8])/(original|small)/\w+\.png$")
        assert files_gone and all(theirs.search(path) for path in files_gone), "only cached copies of remote media may be deleted"
        assert box.run("test -e /var/log/elsewhere.log.1", check=False).rc == 0, "another filesystem was touched"
        prove(box)
        again, _run = apply(box, tmp_path, "reclaim_disk")
        assert (again["state"], again["changes"]) == ("nothing", []), again
        assert roll_back(box, tmp_path, run)["state"] == "kept"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("fault", ["database_filesystem_full", "redis_filesystem_full"])
def test_what_may_not_be_deleted_is_named(fault: str, suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path / "plant", fault)
        sick = picture(box, units=False)
        step, _run = apply(box, tmp_path, "reclaim_disk")
        folder = "/var/lib/postgresql" if "database" in fault else "/var/lib/redis"
        assert step["state"] == "refused" and f"{folder} is full" in step["reason"] and f"{folder}/filler " in step["reason"], step
        assert ("never delete files of PostgreSQL" in step["reason"]) == ("database" in fault), step
        assert differences(sick, picture(box, units=False)) == []
        box.run(f"rm {folder}/filler {folder}/filler2")
        if "redis" in fault:  # the administrator made room; Redis does not know
            assert box.redis("set", "x", "1").startswith("MISCONF")
            step, _run = apply(box, tmp_path, "let_redis_save")
            assert (step["state"], step.get("not_in_effect", "")) == ("kept", ""), step
            assert box.redis("config", "get", "stop-writes-on-bgsave-error").endswith("yes")
            prove(box)


@pytest.mark.parametrize("suite", ONE_SUITE)
def test_root_without_a_free_byte(suite: str, tmp_path: Path) -> None:
    """Everything stands on /: room comes from logs and packages, then PostgreSQL and Redis live, and nothing else is deleted."""
    with Box.start(suite, small_root="160m") as box:
        box.ready()
        use_memory(box)
        box.run("head -c 12M /dev/zero > /var/log/nginx/access.log.2.gz && touch -d '3 days ago' /var/log/nginx/access.log.2.gz")
        box.run("head -c 12M /dev/zero > /var/cache/apt/archives/old_1.0_all.deb")
        box.run("head -c 1M /dev/zero > /var/log/young.log.1; head -c 1M /dev/zero > /var/log/live.log")
        box.run("ln -s /etc/passwd /var/log/link.log.1; touch -hd '3 days ago' /var/log/link.log.1")
        box.run("cd /var/tmp; dd if=/dev/zero of=filler bs=64k; dd if=/dev/zero of=filler2 bs=1 count=8192", check=False)
        assert box.run("df --output=avail -B1 / | tail -1").out.strip() == "0"
        table = "CREATE TABLE f AS SELECT repeat('x', 2000) FROM generate_series(1, 20000)"
        box.run(["psql", "-XAtq", "-d", "mastodon_production", "-c", table], "postgres", check=False)
        box.redis("bgsave")
        for number in range(6):
            box.post(f"no room {number}")
        files = whole(box)
        step, _run = apply(box, tmp_path, "reclaim_disk")
        assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
        gone = {line.split()[0] for line in files.splitlines()} - {line.split()[0] for line in whole(box).splitlines()}
        assert gone == {"/var/log/nginx/access.log.2.gz"}, gone
        assert box.run("ls /var/cache/apt/archives/*.deb", check=False).rc != 0
        box.run("test -L /var/log/link.log.1 && test -e /var/log/young.log.1 && test -e /var/log/live.log")
        prove(box)
        again, _run = apply(box, tmp_path, "reclaim_disk")
        assert (again["state"], again["changes"]) == ("nothing", []), again


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_redis_gets_its_directory_back(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path / "plant", "redis_directory_lost")
        assert box.post("refused").status == 500
        foreseen = foresee(box, tmp_path, "let_redis_save")
        assert [each["what"] for each in foreseen["changes"]][0] == "/var/lib/redis", foreseen
        assert box.run("stat -c '%U %a' /var/lib/redis").out == "root 555\n"
        step, run = apply(box, tmp_path, "let_redis_save")
        assert (step["state"], step.get("not_in_effect", "")) == ("kept", ""), step
        assert box.run("stat -c '%U:%G %a' /var/lib/redis").out == "redis:redis 755\n"
        prove(box)
        again, _run = apply(box, tmp_path, "let_redis_save")
        assert (again["state"], again["changes"]) == ("nothing", []), again
        roll_back(box, tmp_path, run)
        assert box.run("stat -c '%U %a' /var/lib/redis").out == "root 555\n"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_media_are_given_back(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path / "plant", "media_owned_by_root")
        box.run(f"ln -s /etc/passwd {LIVE_SYSTEM}/media_attachments/link")
        sick, files = picture(box), whole(box)
        foreseen = foresee(box, tmp_path, "fix_media_permissions")
        assert foreseen["state"] == "applied" and "get him as owner" in foreseen["changes"][0]["what"], foreseen
        assert (differences(sick, picture(box)), whole(box)) == ([], files)
        step, run = apply(box, tmp_path, "fix_media_permissions")
        assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
        assert box.run("stat -c %U /etc/passwd").out == "root\n"
        given = whole(box)
        prove(box)
        again, _run = apply(box, tmp_path, "fix_media_permissions")
        assert (again["state"], again["changes"]) == ("nothing", []), again
        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        now = set(whole(box).splitlines())
        assert set(files.splitlines()) <= now, set(files.splitlines()) - now
        assert set(given.splitlines()) - set(files.splitlines())


@pytest.mark.parametrize("suite", ONE_SUITE)
def test_cleanup_by_hand(suite: str, tmp_path: Path) -> None:
    """The module alone: nothing is full; each action by its option, foreseen, done, not done twice."""
    with Box.start(suite) as box:
        box.ready()
        box.run("head -c 3M /dev/zero > /var/cache/apt/archives/old_1.0_all.deb")
        box.run("head -c 3M /dev/zero > /var/log/a.log.1; touch -d '3 days ago' /var/log/a.log.1")
        before = picture(box), whole(box)
        asked = {"packages": True, "rotated_logs": True, "media_days": 7}
        foreseen = module(box, tmp_path, "mastodon_cleanup", check=True, **asked)
        # A box has eight cached pictures of 256 KiB that are thirty days old.
        estimate = {"packages": 3 << 20, "rotated_logs": 3 << 20, "media": 2 << 20}
        assert foreseen["changed"] and {each["name"]: each["bytes"] for each in foreseen["actions"]} == estimate, foreseen
        assert (picture(box), whole(box)) == before
        done = module(box, tmp_path, "mastodon_cleanup", **asked)
        assert done["changed"] and done["run"], done
        assert box.run("ls /var/log/a.log.1 /var/cache/apt/archives/*.deb", check=False).rc != 0
        assert not module(box, tmp_path, "mastodon_cleanup", **asked)["changed"]
        assert not module(box, tmp_path, "mastodon_cleanup", root="/home/mastodon/live")["changed"]
