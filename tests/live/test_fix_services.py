# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixes of services and configuration in a box: nothing in check mode, the cure, nothing the second time, all back after the rollback."""

from __future__ import annotations

import sys
import time

from pathlib import Path

import pytest

from live import ROOT, SUITES, Box
from one_fix import apply, finished, foresee, module, roll_back
from proof import differences, picture, prove

sys.path.insert(0, str(ROOT / "tests" / "bench"))

from bench_restarts import restarts_under_load  # noqa: E402

WEB = "/etc/systemd/system/mastodon-web.service.d"
SIDEKIQ = "/etc/systemd/system/mastodon-sidekiq.service.d"
ENV = "/home/mastodon/live/.env.production"


def drop_in(box: Box, folder: str, text: str) -> None:
    """As `systemctl edit` writes it; in effect at once."""
    box.put(folder + "/override.conf", "[Service]\n" + text)
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "restart", folder.rsplit("/", 1)[-1].removesuffix(".d")])


def cure(box: Box, folder: Path, fix: str, **options: str) -> str:
    """Foreseen without a trace, done, nothing left to do; the run."""
    before = picture(box)
    foreseen = foresee(box, folder, fix, **options)
    assert (foreseen["state"], differences(before, picture(box))) == ("applied", []), foreseen
    step, run = apply(box, folder, fix, **options)
    assert (step["state"], step["problems"], step.get("not_in_effect", "")) == ("kept", [], ""), step
    assert [each["what"] for each in step["changes"]] == [each["what"] for each in foreseen["changes"]]
    return run


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_everything_runs_in_production_again(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        drop_in(box, WEB, "Environment=RAILS_ENV=development\n")
        drop_in(box, SIDEKIQ, "UnsetEnvironment=RAILS_ENV STRANGE\n")
        box.run("echo 'export RAILS_ENV=development TOKEN=not-for-the-log' >> /home/mastodon/.profile")
        wait_until_it_is_known(box)
        before = picture(box, units=False)
        run = cure(box, tmp_path, "set_rails_env")
        prove(box)
        assert box.run(["su", "-", "mastodon", "-c", "echo $RAILS_ENV"]).out.strip() == "production"
        assert "UnsetEnvironment=STRANGE" in box.run(["systemctl", "show", "-p", "UnsetEnvironment", "mastodon-sidekiq"]).out
        assert "not-for-the-log" not in box.run(f"cat /var/lib/fediops.mastodon/runs/{run}/run.json").out
        step, _run = apply(box, tmp_path, "set_rails_env")
        assert step["state"] == "nothing", step
        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert differences(before, picture(box, units=False)) == []


@pytest.mark.thorough
def test_what_would_outdo_the_fix_is_named(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.put("/etc/default/mastodon", "RAILS_ENV=development\n")
        drop_in(box, WEB, "EnvironmentFile=/etc/default/mastodon\n")
        wait_until_it_is_known(box)
        before = picture(box, units=False)
        step, _run = apply(box, tmp_path, "set_rails_env")
        assert step["state"] == "refused" and "/etc/default/mastodon line 1" in step["reason"], step
        assert differences(before, picture(box, units=False)) == []


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_queues_nobody_takes_get_a_unit_of_their_own(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        text = box.get("/etc/systemd/system/mastodon-sidekiq.service")
        box.put("/etc/systemd/system/mastodon-sidekiq-push.service", text.replace("-c 10", "-c 5 -q push -q scheduler"))
        box.run(["systemctl", "enable", "--now", "mastodon-sidekiq-push"])
        drop_in(
            box, SIDEKIQ, "ExecStart=\nExecStart=/home/mastodon/.rbenv/shims/bundle exec sidekiq -c 10 -q default -q pull -q scheduler\n"
        )
        wait_for_processes(box, 2)
        before = picture(box, units=False)
        run = cure(box, tmp_path, "cover_queues")
        wait_for_processes(box, 3)
        taken = sidekiq_facts(box, tmp_path)
        assert (taken["unconsumed_queues"], taken["schedulers"]) == ([], 1), taken
        step, _run = apply(box, tmp_path, "cover_queues")
        assert step["state"] == "nothing", step
        assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        assert differences(before, picture(box, units=False)) == []
        assert "fediops" not in box.run("systemctl list-units --all --plain --no-legend 'mastodon-*'").out


@pytest.mark.thorough
def test_threads_follow_the_issue(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        before = picture(box, units=False)
        drop_in(box, WEB, "Environment=DB_POOL=1\n")
        box.wait_for_services()
        pool = cure(box, tmp_path, "tune_concurrency", issue="db_pool_exhausted")
        assert "DB_POOL=5" in environment(box, "puma: cluster")
        memory = cure(box, tmp_path, "tune_concurrency", issue="oom_kill", units="mastodon-sidekiq.service")
        assert "sidekiq -c 5" in box.run(["systemctl", "show", "-p", "ExecStart", "mastodon-sidekiq"]).out
        box.psql("ALTER SYSTEM SET max_connections = 40")
        box.run(["systemctl", "restart", "postgresql"])
        box.ready()
        # 10 of web, 5 of Sidekiq and 10 of streaming fit into 40 - 3 - 6.
        step, _run = apply(box, tmp_path, "tune_concurrency", issue="db_too_many_connections")
        assert step["state"] == "refused" and "need 25 connections" in step["reason"], step
        box.psql("ALTER SYSTEM SET max_connections = 30")
        box.run(["systemctl", "restart", "postgresql"])
        box.ready()
        fewer = cure(box, tmp_path, "tune_concurrency", issue="db_too_many_connections")
        assert "WEB_CONCURRENCY=1" in environment(box, "puma 6")
        prove(box)
        for run in (fewer, memory, pool):
            assert roll_back(box, tmp_path, run)["state"] == "rolled_back"
        box.run(f"rm -r {WEB}")
        assert differences(before, picture(box, units=False)) in ([], ["/etc/postgresql/17/main/postgresql.auto.conf"])


@pytest.mark.thorough
def test_a_run_killed_while_it_drains_is_finished_by_the_next(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.enqueue("Standin::SleepWorker", 45, count=3)
        time.sleep(12)
        steps = [
            {"fix": "set_rails_env", "options": {"login_shell": "yes"}},
            {"fix": "tune_concurrency", "options": {"issue": "oom_kill", "units": "mastodon-sidekiq.service"}},
        ]
        begun = module(box, tmp_path, "mastodon_fix", steps=steps, wait_seconds=1)
        box.run("until find /run/systemd/system | grep -q fediops-stop.conf; do sleep 0.2; done", timeout=60)
        time.sleep(2)
        assert begun["working"], begun
        box.run(["kill", "-9", str(begun["run"]["pid"])])
        folder = "/var/lib/fediops.mastodon/runs/" + begun["run"]["id"]
        busy = module(box, tmp_path, "mastodon_fix", steps=[{"fix": "start_services"}])
        assert "is not finished" in busy["busy"] and 0 < busy["retry_after_seconds"] <= 60, busy
        box.run(f"echo 1 > {folder}/lease")
        done = finished(box, tmp_path, module(box, tmp_path, "mastodon_fix", steps=[{"fix": "start_services"}]))
        assert done["run"]["recovered"] == [begun["run"]["id"]], done
        assert [step["state"] for step in done["run"]["steps"]] == ["nothing"]
        assert "-fediops-stop.conf" not in box.run("find /run/systemd/system").out
        assert "of 5 busy]" in box.run("ps axo args | grep '^sidekiq'").out
        assert "stopping" not in box.run("ps axo args | grep '^sidekiq'").out
        prove(box)


@pytest.mark.thorough
def test_only_what_hangs_is_restarted(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.enqueue("Standin::SleepWorker", 1, queue="nobody", count=3)
        pids = ["systemctl", "show", "-p", "MainPID", "mastodon-web", "mastodon-sidekiq", "nginx", "redis-server", "postgresql@17-main"]
        began = box.run(pids).out
        box.run("pkill -STOP redis-server; pkill -STOP -u postgres postgres")
        cure(box, tmp_path, "restart_services")
        assert box.run(pids).out == began, "what was frozen is woken, and nothing is lost"
        assert box.redis("LLEN", "queue:nobody").strip() == "3"
        prove(box)


def test_a_masked_service_is_not_started(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        box.run("systemctl stop nginx; systemctl mask nginx")
        step, _run = apply(box, tmp_path, "start_services", roles="proxy")
        assert step["state"] == "refused" and "nginx.service is masked" in step["reason"], step


def test_no_job_is_lost_in_restarts_under_load() -> None:
    with Box.start("trixie") as box:
        box.ready()
        outcome = restarts_under_load(box, 3)
        assert outcome.lost == 0 and outcome.enqueued > 50, outcome


@pytest.mark.thorough
def test_settings_are_set_and_taken_away(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        # As a deployment tool leaves it: the file elsewhere, a link in the checkout.
        box.run(f"install -d -o mastodon /home/mastodon/shared; mv {ENV} /home/mastodon/shared/env; chmod 600 /home/mastodon/shared/env")
        box.run(f"echo '# kept' >> /home/mastodon/shared/env; ln -s /home/mastodon/shared/env {ENV}; chown -h mastodon {ENV}")
        before, text = picture(box), box.get(ENV)
        asked = {"settings": {"SMTP_PORT": 587, "X_ODD": 'a b # c $HOME "q" \\ z'}, "secrets": {"SMTP_PASSWORD": "it's $ecret"}}
        foreseen = module(box, tmp_path, "mastodon_env", check=True, **asked)
        assert foreseen["changed"] and differences(before, picture(box)) == [], foreseen
        done = module(box, tmp_path, "mastodon_env", **asked)
        assert done["changed"] and "$ecret" not in str(done) and "mastodon-web.service" in done["needs_restart"], done
        assert box.run(["stat", "-c", "%U %a %N", ENV, "/home/mastodon/shared/env"]).out.count("mastodon 600") == 1
        read = "puts ENV.values_at('SMTP_PORT', 'X_ODD', 'SMTP_PASSWORD').inspect"
        assert r"""["587", "a b # c $HOME \"q\" \\ z", "it's $ecret"]""" in box.mastodon(f'bin/rails runner "{read}"').out.replace(
            "\\$", "$"
        )
        assert module(box, tmp_path, "mastodon_env", **asked)["changed"] is False
        module(box, tmp_path, "mastodon_env", settings={"SMTP_PORT": 25}, remove=["X_ODD", "SMTP_PASSWORD"])
        assert box.get(ENV) == text
        assert "set it for the unit" in module(box, tmp_path, "mastodon_env", settings={"WEB_CONCURRENCY": 3})["msg"]
        assert "would be lost" in module(box, tmp_path, "mastodon_env", secrets={"SECRET_KEY_BASE": "x" * 64})["msg"]
        unit = module(box, tmp_path, "mastodon_env", unit="mastodon-web", settings={"WEB_CONCURRENCY": 3}, restart=True)
        assert unit["changed"] and "WEB_CONCURRENCY=3" in environment(box, "puma 6"), unit
        assert module(box, tmp_path, "mastodon_env", unit="mastodon-web", settings={"WEB_CONCURRENCY": 3})["changed"] is False
        module(box, tmp_path, "mastodon_env", unit="mastodon-web", remove=["WEB_CONCURRENCY"], restart=True)
        assert "WEB_CONCURRENCY" not in environment(box, "puma 6")


def environment(box: Box, title: str) -> str:
    return box.run(f"tr '\\0' '\\n' < /proc/$(pgrep -of '^{title}')/environ").out


def wait_until_it_is_known(box: Box) -> None:
    """Web and Sidekiq have come up, or failed for the first time: from then on a picture of the units does not change by itself."""
    script = """
    known() { [ "$(systemctl show -P NRestarts $1)" -ge 1 ]; }
    until known mastodon-web || curl -sfo /dev/null -H 'Host: mastodon.test' -H 'X-Forwarded-Proto: https' 127.0.0.1:3000/health
    do sleep 0.2; done
    until known mastodon-sidekiq || pgrep -f '^sidekiq [0-9.]+ live'
    do sleep 0.2; done
    """
    box.run(script, timeout=90)


def wait_for_processes(box: Box, number: int) -> None:
    deadline = time.monotonic() + 60
    live = 0
    while live != number and time.monotonic() < deadline:
        live = sum(box.redis("exists", name) == "1" for name in box.redis("smembers", "processes").split())
        time.sleep(0.5)
    assert live == number


def sidekiq_facts(box: Box, folder: Path) -> dict[str, object]:
    facts: dict[str, object] = module(box, folder, "mastodon_facts")["ansible_facts"]["mastodon"]["sidekiq"]
    return facts
