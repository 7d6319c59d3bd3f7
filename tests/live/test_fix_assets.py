# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assets are built or brought while the old ones are served, and a build that fails, or is shot, leaves no trace of it."""

from __future__ import annotations

import json
import re
import time

from pathlib import Path

import pytest

from live import SUITES, Box, ansible, inventory
from one_fix import apply, foresee, module, plant, roll_back
from proof import differences, picture, prove

LIVE = "/home/mastodon/live"
STYLE = f"{LIVE}/app/javascript/styles/application.css"


def served(box: Box) -> str:
    """Every byte, owner, mode and time of what nginx serves."""
    command = f"cd {LIVE}/public; find packs assets -printf '%p %u %m %T@ %i ' -type f -exec sha256sum {{}} \\; -o -printf '\\n' | sort"
    return box.run(command).out


def style_of(box: Box) -> tuple[int, str]:
    """The style sheet that the page names, as a visitor gets it."""
    page = box.get_page("/")
    found = re.search(r'href="([^"]+application[^"]*\.css)"', page.body)
    assert page.status == 200 and found, (page.status, page.body[:300])
    answer = box.get_page(re.sub(r"^https?://[^/]+", "", found[1]))
    return answer.status, answer.body


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("fault", ["assets_not_rebuilt", "manifest_missing", "pack_file_missing", "web_not_restarted"])
def test_pages_have_styles_again(fault: str, suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path, fault)
        before, packs = picture(box), served(box)
        foreseen = foresee(box, tmp_path, "rebuild_assets")
        assert foreseen["state"] == "applied" and foreseen["changes"], foreseen
        assert (differences(before, picture(box)), served(box)) == ([], packs)

        step, run = apply(box, tmp_path, "rebuild_assets")
        assert (step["state"], step["problems"], step["not_in_effect"]) == ("kept", [], ""), step
        assert style_of(box)[0] == 200
        prove(box)
        again, _run = apply(box, tmp_path, "rebuild_assets")
        assert (again["state"], again["changes"]) == ("nothing", []), again

        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert served(box) == packs
        assert differences({**before, "units": 0}, {**picture(box), "units": 0}) == []


@pytest.mark.thorough
def test_nobody_sees_a_build(tmp_path: Path) -> None:
    """A bundler empties its folder first: visitors keep their files all the time, and get the new ones after it."""
    with Box.start("trixie") as box:
        box.ready()
        name = re.search(r"/packs/assets/application-\w+\.css", box.get_page("/").body)
        assert name
        box.run(f"echo 'p {{ color: green }}' >>{STYLE}")
        # Only as long as the build runs; between the exchange and the reload old pages name files that are gone.
        watch = (
            f"until ls {LIVE}/.fediops-assets/*-public 2>/dev/null; do sleep 0.02; done; n=0; "
            f"while ls {LIVE}/.fediops-assets/*-public/packs >/dev/null 2>&1; do "
            f"[ -e {LIVE}/public{name[0]} ] && n=$((n+1)) || echo LOST; sleep 0.02; done; echo looked $n"
        )
        box.run(f"setsid sh -c '{watch}' >/root/watch 2>&1 </dev/null &")
        step, _run = apply(box, tmp_path, "rebuild_assets")
        assert step["state"] == "kept", step
        told = box.get("/root/watch")
        looked = re.search(r"looked (\d+)", told)
        assert looked and int(looked[1]) > 10 and told.count("LOST") <= 2, told
        assert "color: green" in style_of(box)[1]


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_broken_source_leaves_what_is_served(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        packs, before = served(box), picture(box)
        box.run(f"cp -p {STYLE} /run/style; echo '@@broken@@' >>{STYLE}")
        step, _run = apply(box, tmp_path, "rebuild_assets")
        assert step["state"] == "failed" and "Unexpected token in styles/application.css" in step["reason"], step
        assert (served(box), style_of(box)[0]) == (packs, 200)
        # The bundler must not take the failed build for done (mastodon.md: Everything's up-to-date).
        box.run(f"sed -i /@@broken@@/d {STYLE}; echo 'b {{ color: red }}' >>{STYLE}")
        step, run = apply(box, tmp_path, "rebuild_assets")
        assert step["state"] == "kept" and "color: red" in style_of(box)[1], step
        roll_back(box, tmp_path, run)
        box.run(f"cp -p /run/style {STYLE}")
        assert served(box) == packs
        assert differences({**before, "units": 0}, {**picture(box), "units": 0}) == []


def test_worker_shot_during_the_build(tmp_path: Path) -> None:
    """The next run ends what is left of the build, removes it, and builds."""
    with Box.start("trixie") as box:
        box.ready()
        packs = served(box)
        # A build that takes its time.
        box.run(
            f"cp -p {LIVE}/config/packs.mjs /root; sed -i '1a await new Promise((done) => setTimeout(done, 8000));' {LIVE}/config/packs.mjs"
        )
        box.run(f"echo 'i {{ color: red }}' >>{STYLE}")
        begun = module(box, tmp_path, "mastodon_fix", steps=[{"fix": "rebuild_assets"}], wait_seconds=0.1)
        end = time.monotonic() + 30
        while "packs.mjs" not in box.run("pgrep -af node", check=False).out:
            assert time.monotonic() < end, begun
            time.sleep(0.2)
        pid = json.loads(box.get(f"/var/lib/fediops.mastodon/runs/{begun['run']['id']}/run.json"))["pid"]
        box.run(f"kill -9 {pid}; rm /var/lib/fediops.mastodon/runs/{begun['run']['id']}/lease; cp -p /root/packs.mjs {LIVE}/config/")
        # Its controller is gone for longer than the lease.
        box.run(f'sed -i \'s/"started_epoch": [0-9.]*/"started_epoch": 1/\' /var/lib/fediops.mastodon/runs/{begun["run"]["id"]}/run.json')
        assert served(box) == packs
        step, run = apply(box, tmp_path, "rebuild_assets")
        assert step["state"] == "kept" and "color: red" in style_of(box)[1], step
        first = json.loads(box.get(f"/var/lib/fediops.mastodon/runs/{begun['run']['id']}/run.json"))
        assert [each["state"] for each in first["steps"]] == ["undone"], first
        assert box.run("ls /run/fediops.mastodon").out.split() == ["lock"]
        assert box.run("systemctl list-units --plain --no-legend 'fediops-assets*'").out == ""
        assert len(box.run(f"ls {LIVE}/.fediops-assets").out.split()) == 2, "only what the second run keeps"
        roll_back(box, tmp_path, run)
        assert served(box) == packs


@pytest.mark.thorough
def test_too_late_and_killed_for_memory_are_said(tmp_path: Path) -> None:
    with Box.start("trixie", kmsg=True) as box:
        box.ready()
        packs = served(box)
        box.run(f"cp -p {LIVE}/config/packs.mjs /root; echo 'i {{ color: red }}' >>{STYLE}")
        box.run(f"sed -i '1a const all = []; for (;;) all.push(new Array(1e6).fill(1.5));' {LIVE}/config/packs.mjs")
        box.run("mkdir -p /etc/systemd/system/service.d; printf '[Service]\\nMemoryMax=500M\\n' >/etc/systemd/system/service.d/small.conf")
        box.run("systemctl daemon-reload")
        step, _run = apply(box, tmp_path, "rebuild_assets")
        assert step["state"] == "failed" and "memory" in step["reason"] and "add_swap" in step["reason"], step
        box.run("rm -r /etc/systemd/system/service.d; systemctl daemon-reload")
        box.run(f"cp -p /root/packs.mjs {LIVE}/config/")
        box.run(f"sed -i '1a await new Promise((done) => setTimeout(done, 90000));' {LIVE}/config/packs.mjs")
        step, _run = apply(box, tmp_path, "rebuild_assets", deadline_seconds="60")
        assert step["state"] == "failed" and "not done within" in step["reason"], step
        assert (
            box.run("pgrep -c node; true").out.split()[0]
            == box.run("systemctl list-units --plain --no-legend 'mastodon-streaming@*' | wc -l").out.split()[0]
        )
        assert served(box) == packs


@pytest.mark.thorough
def test_assets_of_a_build_host(tmp_path: Path) -> None:
    with Box.start("trixie") as builder, Box.start("trixie") as box:
        builder.ready()
        box.ready()
        archive = tmp_path / "assets.tar.gz"
        builder.run(f"echo 'u {{ color: red }}' >>{STYLE}")
        packed = module(builder, tmp_path, "mastodon_assets", state="packed", dest=str(archive))
        assert packed["changed"] and archive.stat().st_size == packed["size_bytes"], packed
        packs, before = served(box), picture(box)
        refused = module(box, tmp_path, "mastodon_assets", state="copied", src=str(archive))
        assert "run" not in refused and "check the same commit out on both" in refused["msg"], refused
        # Ansible itself makes /root/.ansible when it sends a file.
        changed = [each for each in differences(before, picture(box)) if not each.startswith("/root/.ansible")]
        assert (served(box), changed) == (packs, [])

        box.put(STYLE, builder.get(STYLE), owner="mastodon")
        before = picture(box)
        foreseen = module(box, tmp_path, "mastodon_assets", check=True, state="copied", src=str(archive))
        assert foreseen["changed"] and (served(box), differences(before, picture(box))) == (packs, []), foreseen
        done = module(box, tmp_path, "mastodon_assets", state="copied", src=str(archive))
        assert done["changed"], done
        deadline = time.monotonic() + 30
        while "color: red" not in style_of(box)[1]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        content = f"cd {LIVE}/public; find packs assets -type f -exec sha256sum {{}} + | sort"
        assert box.run(content).out == builder.run(content).out
        assert set(box.run(f"find {LIVE}/public/packs {LIVE}/public/assets -printf '%u:%g\\n'").out.split()) == {"mastodon:mastodon"}
        assert not module(box, tmp_path, "mastodon_assets", state="copied", src=str(archive))["changed"]
        assert "ansible-tmp" not in box.run("ls /root/.ansible/tmp").out + builder.run("ls /root/.ansible/tmp").out
        assert roll_back(box, tmp_path, done["run"])["state"] == "rolled_back"
        assert served(box) == packs


@pytest.mark.thorough
def test_module_reports_and_builds(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        assert module(box, tmp_path, "mastodon_assets", state="reported")["needed"] == ""
        assert not module(box, tmp_path, "mastodon_assets")["changed"]
        plant(box, tmp_path, "pack_file_missing")
        report = module(box, tmp_path, "mastodon_assets", state="reported")
        assert report["needed"] == "1 files of the manifest are not there" and not report["changed"], report
        before, packs = picture(box), served(box)
        assert module(box, tmp_path, "mastodon_assets", check=True)["changed"]
        assert (served(box), differences(before, picture(box))) == (packs, [])
        assert module(box, tmp_path, "mastodon_assets")["changed"]
        prove(box)
        assert not module(box, tmp_path, "mastodon_assets")["changed"]
        assert module(box, tmp_path, "mastodon_assets", force=True)["changed"]


@pytest.mark.thorough
def test_yarn_of_the_wrong_kind_and_old_node_are_refused(tmp_path: Path) -> None:
    with Box.start("bookworm") as box:
        box.ready()
        box.run(f'sed -i \'s/"private"/"dependencies": {{"x": "1"}}, "private"/\' {LIVE}/package.json')
        step = foresee(box, tmp_path, "rebuild_assets")
        assert step["state"] == "refused" and "yarn is not on the PATH of user mastodon" in step["reason"], step
        box.put("/home/mastodon/.rbenv/shims/yarn", "#!/bin/sh\necho 4.9.2\n", 0o755, "mastodon")
        step = foresee(box, tmp_path, "rebuild_assets")
        assert step["state"] == "refused" and "yarn is 4.9.2" in step["reason"] and "needs 1" in step["reason"], step
        box.put("/home/mastodon/.rbenv/shims/node", "#!/bin/sh\necho v12.1.0\n", 0o755, "mastodon")
        step = foresee(box, tmp_path, "rebuild_assets")
        assert step["state"] == "refused" and "node is 12.1.0" in step["reason"] and ">=14" in step["reason"], step


@pytest.mark.thorough
def test_inventory_is_used(tmp_path: Path) -> None:
    """The example of the module's documentation for a build host: delegated, and by way of the controller."""
    playbook = tmp_path / "copy.yml"
    playbook.write_text(f"""
- hosts: all
  gather_facts: false
  tasks:
    - fediops.mastodon.mastodon_assets: {{state: packed, root: {LIVE}, dest: {tmp_path}/a.tar.gz}}
      delegate_to: "{{{{ ansible_play_hosts_all[0] }}}}"
      run_once: true
    - fediops.mastodon.mastodon_assets: {{state: copied, src: {tmp_path}/a.tar.gz}}
""")
    with Box.start("bookworm") as box:
        box.ready()
        plant(box, tmp_path / "plant", "manifest_missing")
        done = ansible(playbook, "-i", inventory(tmp_path, box))
        assert done.returncode == 0, done.stdout
        prove(box)
