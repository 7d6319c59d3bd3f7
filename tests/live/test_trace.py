# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real requests are followed through real logs by the id that the visitor got, or by that he got none."""

from __future__ import annotations

import json

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from live import FAULTS, ONE_SUITE, ROOT, Box, ansible, inventory
from split import pair

LIVE = "/home/mastodon/live"
# As Mastodon sends its mails: through ActiveJob. There is no mail server here, so the job fails.
MAILER = """
class UserMailer < ActionMailer::Base
  def welcome
    mail(to: 'someone@remote.example', from: 'admin@mastodon.test', subject: 'Welcome', body: 'x', content_type: 'text/plain')
  end
end
"""
WITH_MAIL = f"""
cd {LIVE}
sed -i "s|^require 'action_view/railtie'|&\\nrequire 'active_job/railtie'\\nrequire 'action_mailer/railtie'|" config/application.rb
sed -i "s|config.active_record.schema_format = :ruby|&\\n    config.active_job.queue_adapter = :sidekiq|" config/application.rb
sed -i "s|^    render json: status$|    UserMailer.welcome.deliver_later\\n&|" app/controllers/api/v1/statuses_controller.rb
systemctl restart mastodon-web mastodon-sidekiq
"""


@pytest.fixture(scope="module", params=ONE_SUITE)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    with Box.start(request.param) as started:
        started.ready()
        yield started


def trace(folder: Path, request_id: str, *boxes: Box, arguments: tuple[str | Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """The trace, and all that was printed."""
    done = ansible(
        ROOT / "playbooks" / "trace.yml", "-i", inventory(folder, *boxes), "-e", f"request_id={request_id}", "-e",
        f"mastodon_report_dir={folder / 'report'}", *arguments,
    )  # fmt: skip
    report = folder / "report" / "trace.json"
    assert done.returncode == 0 and report.exists(), done.stdout
    return json.loads(report.read_text()), done.stdout


def links(told: dict[str, Any], origin: str) -> list[str]:
    return [line["link"] for line in told["lines"] if line["origin"] == origin]


def test_a_request_that_enqueues_jobs(box: Box, tmp_path: Path) -> None:
    posted = box.post("plain")
    told, output = trace(tmp_path, posted.headers["x-request-id"], box)
    assert (told["state"], told["jobs"], told["requests"][0]["status"]) == ("answered", [], 200), output
    assert "which ones this request enqueued cannot be told" in " ".join(output.split()), output
    assert links(told, "web") == ["id"] and set(links(told, "proxy")) == {"request"} and links(told, "sidekiq") == [], output

    box.run(["mkdir", "-p", f"{LIVE}/app/mailers"])
    box.put(f"{LIVE}/app/mailers/user_mailer.rb", MAILER, 0o644, "mastodon:mastodon")
    box.run(WITH_MAIL)
    box.wait_for_services()
    posted = box.post("with a mail")
    assert posted.status == 200, posted
    box.run("for i in $(seq 100); do journalctl -u mastodon-sidekiq | grep -q ECONNREFUSED && exit 0; sleep 0.1; done; exit 1")
    told, output = trace(tmp_path, posted.headers["x-request-id"], box, arguments=("--check",))
    assert len(told["jobs"]) == 1 and links(told, "sidekiq").count("job") >= 2, output
    assert [(stack["class"], bool(stack["job"])) for stack in told["stacks"]] == [("Errno::ECONNREFUSED", True)], output
    assert "DistributionWorker" not in str(told["lines"]) and "someone@remote.example" not in str(told), output


def test_an_answer_that_the_proxy_made(box: Box, tmp_path: Path) -> None:
    box.run("systemctl stop mastodon-web")
    try:
        answer = box.http("GET", "/api/v1/timelines/public", headers={"X-Request-Id": "sent-by-the-visitor"})
    finally:
        box.run("systemctl start mastodon-web")
        box.wait_for_services()
    assert answer.status == 502 and "x-request-id" not in answer.headers
    told, output = trace(tmp_path, "", box)
    assert told["state"] == "made_by_proxy" and "never came from the application" in " ".join(output.split()), output
    newest = told["unanswered"][0]
    assert (newest["state"], newest["path"], newest["status"]) == ("never_reached", "/api/v1/timelines/public", 502), output
    told, output = trace(tmp_path, "sent-by-the-visitor", box)
    assert told["state"] == "not_found" and told["lines"] == [] and "it never reached the application" in " ".join(output.split()), output


def test_a_failed_request_leads_to_its_cause(box: Box, tmp_path: Path) -> None:
    planted = ansible(FAULTS / "plant.yml", "-i", inventory(tmp_path, box), "-e", "fault=schema_older_than_code")
    assert planted.returncode == 0, planted.stdout
    box.run(["systemctl", "start", "mastodon-web"])
    box.post("before")
    failed = box.post("the one")
    assert failed.status == 500
    request_id = failed.headers["x-request-id"]
    told, output = trace(tmp_path, request_id, box)
    assert told["state"] == "answered" and told["requests"][0]["status"] == 500, output
    # Which of them depends on whether this process had read the columns before.
    assert told["stacks"][0]["class"] in ("PG::UndefinedColumn", "ActiveModel::UnknownAttributeError"), output
    assert "visibility" in told["stacks"][0]["message"], output
    assert [finding["id"] for finding in told["findings"] if finding["rank"] == 1] == ["pending_migrations"], output
    assert links(told, "web")[0] == "id" and "request" in links(told, "proxy"), output
    assert request_id in output and "pending_migrations" in output
    times = [line["time_epoch"] + (0.999999 if line["time_epoch"] == int(line["time_epoch"]) else 0) for line in told["lines"]]
    assert times == sorted(times)


@pytest.mark.thorough
def test_the_database_of_another_host_is_asked(tmp_path: Path) -> None:
    with pair("trixie") as (first, second):
        first.run("sudo -u postgres psql -Xq -d mastodon_production -c 'ALTER TABLE oauth_access_tokens RENAME TO gone'")
        failed = second.post("the one")
        assert failed.status == 500
        told, output = trace(tmp_path, failed.headers["x-request-id"], second, first)
        found = [(line["host"], line["link"]) for line in told["lines"] if line["origin"] == "database" and line["link"] == "error"]
        assert found == [(first.name, "error")], output
        assert [finding["id"] for finding in told["findings"] if finding["rank"] == 1] == ["pending_migrations"], output
        assert told["clocks"] == [], output
