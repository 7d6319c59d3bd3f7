# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two fixes of the database, against real servers: past PgBouncer, in two phases, refused, killed anywhere, taken back.

One by hand: pytest tests/live/test_fix_database.py -k 'pgbouncer and trixie'
"""

from __future__ import annotations

import hashlib
import json

from pathlib import Path
from typing import Any

import one_fix
import pytest

from live import ONE_SUITE, SUITES, Box
from one_fix import foresee, module, plant, roll_back
from proof import prove

LIVE = "/home/mastodon/live"
COLUMN = """class AddNoteForTest < ActiveRecord::Migration[6.1]
  def change
    add_column :accounts, :note_for_test, :string
  end
end
"""
TABLE = """class CreatePollsForTest < ActiveRecord::Migration[6.1]
  def change
    create_table(:polls_for_test) { |t| t.string :name }
  end
end
"""
# Another client takes the server session that holds the lock, as any request does on a busy server.
TAKES_THE_SESSION = """class WaitForTest < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!
  def up
    spawn({'PGPASSWORD' => ENV['DB_PASS']}, *%w[psql -XAtq -h 127.0.0.1 -p 6432 -U mastodon -d mastodon_production -c BEGIN -c],
          'SELECT pg_sleep(6)', '-c', 'COMMIT', out: '/dev/null')
    sleep 2
  end
end
"""
SLOW = """class SlowForTest < ActiveRecord::Migration[6.1]
  def up
    sleep 8
    create_table(:slow_for_test) { |t| t.string :name }
  end
end
"""
BELONGINGS = """
ALTER DATABASE mastodon_production SET statement_timeout TO '50s'; ALTER DATABASE mastodon_production SET search_path = "$user", public;
GRANT CONNECT ON DATABASE mastodon_production TO postgres; COMMENT ON DATABASE mastodon_production IS 'it''s ours'
"""
JOBS_DONE = """
until [ "$(psql -XAtqd mastodon_production -c 'SELECT count(*) FROM statuses WHERE distributed_at IS NULL')" = 0 ]; do sleep 0.2; done
"""
ABOUT = """
SELECT setconfig::text || shobj_description(d.oid, 'pg_database') || datacl::text || datconnlimit
FROM pg_database d, pg_db_role_setting s WHERE s.setdatabase = d.oid AND datname = 'mastodon_production'
"""
# It stops the worker before it says where that is: a stage may be over before the signal arrives, or before it was looked at.
KILLER = """
import json, os, signal, sys, time
words, end = sys.argv[1], time.time() + 300
def read(name):
    return json.load(open(folder + "/" + name + "/run.json"))
folder = "/var/lib/fediops.mastodon/runs"
known = set(os.listdir(folder) if os.path.isdir(folder) else ())
while time.time() < end:
    for name in set(os.listdir(folder) if os.path.isdir(folder) else ()) - known:
        try:
            run = read(name)
        except (OSError, ValueError):
            continue
        if any(words in each["text"] for each in run["progress"]):
            os.kill(run["pid"], signal.SIGSTOP)
            text = read(name)["progress"][-1]["text"]
            os.kill(run["pid"], signal.SIGKILL)
            print(text)
            sys.exit(0)
sys.exit(1)
"""


def apply(box: Box, folder: Path, fix: str, **options: Any) -> dict[str, Any]:
    """One fix as a run of its own, kept; its step with the id of the run."""
    step, run = one_fix.apply(box, folder, fix, **options)
    return dict(step, run=run)


def fingerprint(box: Box, database: str = "mastodon_production") -> str:
    """Everything in the database, byte for byte, but the random words that new versions of pg_dump put around it."""
    lines = box.run(["pg_dump", "--no-password", database], "postgres").out.splitlines()
    return hashlib.sha256("\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict"))).encode()).hexdigest()


def databases(box: Box) -> dict[str, str]:
    known = box.psql("SELECT datname, pg_encoding_to_char(encoding) FROM pg_database", "postgres")
    return dict(line.split("|") for line in known.splitlines())


def migration(box: Box, path: str, text: str) -> None:
    box.put(f"{LIVE}/db/{path}", text, 0o644, "mastodon:mastodon")


def sidekiq(box: Box) -> str:
    return box.run("systemctl show -P MainPID mastodon-sidekiq").out


def processes(box: Box) -> str:
    return box.run("systemctl show -p MainPID mastodon-web mastodon-sidekiq 'mastodon-streaming@*'").out


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
def test_two_phases_with_a_dump(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path, "schema_older_than_code")
        migration(box, "migrate/20251130000000_add_note_for_test.rb", COLUMN)
        migration(box, "post_migrate/20251201000000_create_polls_for_test.rb", TABLE)
        lacking = module(box, tmp_path, "mastodon_migration", state="reported")
        assert not lacking["changed"] and {"20251130000000", "20251201000000"} < set(lacking["pending"])
        before, running = fingerprint(box), processes(box)
        foreseen = module(box, tmp_path, "mastodon_migration", check=True, dump="true")
        assert foreseen["changed"] and any("20251201000000 create_polls_for_test" in line for line in foreseen["changes"])
        assert (fingerprint(box), processes(box)) == (before, running)
        assert not box.run("ls /var/backups/fediops.mastodon /var/lib/fediops.mastodon", check=False).out.count("run")

        done = module(box, tmp_path, "mastodon_migration", dump="true")
        assert done["changed"] and done["restart_everywhere"], done
        log = box.run(f"cat /var/lib/fediops.mastodon/runs/{done['run']}/01-migrate_database/log").out
        first, second = (log.index(f"deployment\n$ {LIVE}/bin/rails", at) for at in (0, log.index("after the deployment") - 20))
        assert "AddNoteForTest: migrated" in log[first:second] and "CreatePollsForTest: migrated" in log[second:], log
        prove(box)
        again = module(box, tmp_path, "mastodon_migration")
        assert not again["changed"] and again["pending"] == [], again

        # The dump is what was there before, whole, and only root's.
        dump = box.run("ls /var/backups/fediops.mastodon/*.dump").out.strip()
        assert box.run(["stat", "-c", "%U %a", dump]).out.split() == ["root", "400"]
        box.run("createdb -O mastodon -T template0 -E UTF8 --locale=C.UTF-8 again", "postgres")
        box.run(f"runuser -u postgres -- pg_restore --exit-on-error -d again < {dump}")
        assert fingerprint(box, "again") == before
        # What cannot be taken back says so and stays.
        assert roll_back(box, tmp_path, done["run"])["state"] == "kept"
        assert box.psql("SELECT count(*) FROM schema_migrations WHERE version = '20251201000000'") == "1"


@pytest.mark.thorough
@pytest.mark.parametrize("suite", ONE_SUITE)
def test_past_pgbouncer(suite: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path, "migration_behind_pgbouncer")
        assert module(box, tmp_path, "mastodon_facts", gather_subset=["database"])["ansible_facts"]["mastodon"]["database"]["pooler"]
        # The failing case: as the documentation warns, the plain command loses its lock.
        migration(box, "migrate/20150101000000_wait_for_test.rb", TAKES_THE_SESSION)
        plain = box.mastodon("bin/rails db:migrate", check=False)
        assert plain.rc != 0 and "ConcurrentMigrationError" in plain.out, plain.out
        assert box.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1"
        box.psql("ALTER TABLE statuses DROP COLUMN IF EXISTS visibility; DELETE FROM schema_migrations WHERE version = '20161130185319'")
        before = fingerprint(box)
        refused = apply(box, tmp_path, "migrate_database")
        assert refused["state"] == "refused" and "release_lock=true" in refused["reason"], refused
        given = apply(box, tmp_path, "migrate_database", direct_host="127.0.0.1", direct_port="6432")
        assert given["state"] == "refused" and "a pooler answers there too" in given["reason"], given
        assert fingerprint(box) == before
        migrated = apply(box, tmp_path, "migrate_database", release_lock="true")
        assert migrated["state"] == "kept" and not migrated["undoable"], migrated
        assert any("127.0.0.1:5432 (found in /etc/pgbouncer/pgbouncer.ini)" in each["what"] for each in migrated["changes"]), migrated
        assert box.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
        assert "standin-database-password" not in json.dumps(migrated)
        assert "standin-database-password" not in box.run("cat /var/lib/fediops.mastodon/runs/*/*/* 2>/dev/null; true").out
        prove(box)
        assert apply(box, tmp_path, "migrate_database")["state"] == "nothing"

        # Through DATABASE_URL too, which wins over DB_PORT; with prepared statements kept by the pooler of trixie.
        url = "postgresql://mastodon:standin-database-password@127.0.0.1:6432/mastodon_production?connect_timeout=5"
        box.set_env(DATABASE_URL=url, DB_PORT="1", PREPARED_STATEMENTS="true" if suite == "trixie" else "false")
        box.restart_mastodon()
        prove(box)
        migration(box, "post_migrate/20251201000000_create_polls_for_test.rb", TABLE + COLUMN.replace("NoteForTest", "Note"))
        migrated = apply(box, tmp_path, "migrate_database")
        assert migrated["state"] == "kept" and box.psql("SELECT to_regclass('polls_for_test')") == "polls_for_test", migrated
        prove(box)


@pytest.mark.thorough
def test_refused_before_anything_is_touched(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        migration(box, "migrate/20251130000000_add_note_for_test.rb", COLUMN)
        holder = f"psql -XAtq -d mastodon_production -c 'SELECT pg_advisory_lock({0x66656469_6F707301})' -c 'SELECT pg_sleep(60)'"
        box.run(["sh", "-c", holder + " >/dev/null 2>&1 &"], "mastodon")
        before, running = fingerprint(box), processes(box)
        assert "another host works on this database" in apply(box, tmp_path, "migrate_database")["reason"]
        box.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        box.psql("INSERT INTO schema_migrations VALUES ('29990101000000')")
        assert "ahead of the code" in apply(box, tmp_path, "migrate_database")["reason"]
        box.psql("DELETE FROM schema_migrations WHERE version = '29990101000000'")
        absolute = apply(box, tmp_path, "migrate_database", dump="backups")
        assert absolute["state"] == "refused" and "absolute path" in absolute["reason"]
        assert (fingerprint(box), processes(box)) == (before, running)
        # A migration that fails: why is said, what was applied before it stays, the dump too, and the app runs on.
        migration(box, "migrate/20251201000000_create_polls_for_test.rb", TABLE.replace(":polls_for_test", ":accounts"))
        failed = apply(box, tmp_path, "migrate_database", dump="true")
        assert failed["state"] == "failed" and 'relation "accounts" already exists' in failed["reason"], failed
        assert "/var/backups/fediops.mastodon/mastodon_production-" in failed["reason"]
        assert box.run("ls /var/backups/fediops.mastodon").out.count(".dump") == 1
        prove(box)


@pytest.mark.thorough
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("encoding", ["latin1", "sql_ascii"])
def test_encoding(suite: str, encoding: str, tmp_path: Path) -> None:
    with Box.start(suite) as box:
        box.ready()
        plant(box, tmp_path, f"encoding_{encoding}")
        box.psql(BELONGINGS)
        assert box.post("caf\u00e9 before").status == 200
        box.run(JOBS_DONE, "postgres")
        before, running = fingerprint(box), processes(box)
        foreseen = foresee(box, tmp_path, "convert_encoding")
        assert foreseen["state"] == "applied" and foreseen["changes"]
        assert (fingerprint(box), processes(box)) == (before, running)

        step = apply(box, tmp_path, "convert_encoding")
        assert step["state"] == "kept", step
        assert databases(box)["mastodon_production"] == "UTF8"
        about = box.psql(ABOUT)
        assert all(words in about for words in ("statement_timeout=50s", "it's ours", "postgres=", "-1")), about
        assert box.psql("SHOW search_path") == '"$user", public'
        assert box.psql("SELECT count(*) FROM statuses WHERE text = 'caf\u00e9 before'") == "1"
        prove(box)
        assert box.run("ls /var/backups/fediops.mastodon").out == ""
        assert apply(box, tmp_path, "convert_encoding")["state"] == "nothing"

        undone = roll_back(box, tmp_path, step["run"])
        assert undone["state"] == "rolled_back" and not undone["reason"], undone
        assert databases(box)["mastodon_production"] == encoding.upper()
        assert fingerprint(box) == before
        assert [name for name in databases(box) if "after_unicode" in name], databases(box)
        box.ready()
        assert box.post("plain again").status == 200


@pytest.mark.thorough
def test_what_cannot_be_converted_is_left_alone(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        plant(box, tmp_path, "encoding_sql_ascii")
        first = "WHERE id = (SELECT min(id) FROM statuses)"
        box.psql(f"UPDATE statuses SET text = 'broken ' || convert_from('\\xe9'::bytea, 'SQL_ASCII') {first}")
        before, running, known = fingerprint(box), processes(box), databases(box)
        refused = apply(box, tmp_path, "convert_encoding")
        assert refused["state"] == "refused" and '"public"."statuses"."text" (1 rows)' in refused["reason"], refused
        assert (fingerprint(box), processes(box), databases(box)) == (before, running, known)
        # A difference after the restore: a stored length that depends on the encoding.
        box.psql(f"UPDATE statuses SET text = 'caf\u00e9' {first}")
        box.psql("ALTER TABLE statuses ADD COLUMN length integer GENERATED ALWAYS AS (length(text)) STORED")
        before = fingerprint(box)
        failed = apply(box, tmp_path, "convert_encoding")
        assert failed["state"] == "failed" and '"public"."statuses"' in failed["reason"] and "other content" in failed["reason"], failed
        assert (fingerprint(box), databases(box)) == (before, known)
        box.ready()


def killed_at(box: Box, folder: Path, fix: str, stage: str) -> str:
    """Let the worker be killed when it says this; the run is then taken over by the next one, at once. What it said last."""
    box.put("/run/killer.py", KILLER)
    box.run(["sh", "-c", 'python3 /run/killer.py "$1" >/run/killed 2>&1 &', "killer", stage])
    broken = module(box, folder, "mastodon_fix", steps=[{"fix": fix}], wait_seconds=300)
    assert "broke off" in broken.get("msg", ""), broken
    said = box.run("cat /run/killed").out.strip()
    box.run("for lease in /var/lib/fediops.mastodon/runs/*/lease; do echo 0 >$lease; done")
    recovered = one_fix.finished(box, folder, module(box, folder, "mastodon_fix", steps=[{"fix": "start_services"}]))
    assert len(recovered["run"]["recovered"]) == 1, recovered
    box.ready()
    return said


@pytest.mark.thorough
def test_killed_migration(tmp_path: Path) -> None:
    with Box.start("trixie") as box:
        box.ready()
        migration(box, "migrate/20251130000000_slow_for_test.rb", SLOW)
        running = sidekiq(box)
        killed_at(box, tmp_path, "migrate_database", "migrate the database")
        assert box.run("pgrep -f 'db:[m]igrate'", check=False).rc == 1  # not this command itself
        assert box.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0"
        # Its command outlives the worker when it had begun: recovery lets it end, and no process works with the columns of before.
        assert sidekiq(box) != running
        step = apply(box, tmp_path, "migrate_database")
        assert step["state"] in ("kept", "nothing") and box.psql("SELECT to_regclass('slow_for_test')") == "slow_for_test", step
        assert apply(box, tmp_path, "migrate_database")["state"] == "nothing"
        prove(box)


STAGES = ["stopping", "dump database", "restore into", "comparing", "collecting", "swapping", "starting mastodon-web"]


@pytest.mark.thorough
@pytest.mark.parametrize("stage", STAGES)
def test_killed_anywhere(stage: str, tmp_path: Path) -> None:
    with Box.start("trixie" if STAGES.index(stage) % 2 else "bookworm") as box:
        box.ready()
        plant(box, tmp_path, "encoding_latin1")
        # Enough rows that each stage takes its time.
        box.psql("CREATE TABLE many AS SELECT number, repeat(md5(number::text), 8) AS words FROM generate_series(1, 60000) AS number")
        rows = "SELECT m::text FROM many m UNION SELECT s::text FROM statuses s {} ORDER BY 1"
        content = f"SELECT md5(string_agg(row, ',')) FROM ({rows}) AS r(row)"
        since = box.psql("SELECT max(id) FROM statuses")
        before, known = box.psql(content.format("")), databases(box)
        said = killed_at(box, tmp_path, "convert_encoding", stage)
        done = databases(box)["mastodon_production"] == "UTF8"
        # All was done but the services: that is finished, not undone. At the swap it is as far as the server came.
        late = "starting" in said or "waiting" in said
        assert done if late else not done or "swapping" in said, said
        if done:
            assert box.psql("SELECT datconnlimit FROM pg_database WHERE datname = 'mastodon_production'") == "-1"
            assert box.run("ls /var/backups/fediops.mastodon 2>/dev/null", check=False).out.count(".dump") == 0
            prove(box)
            return
        assert box.psql("SELECT datconnlimit FROM pg_database WHERE datname = 'mastodon_production'") == "-1"
        left = set(databases(box)) - set(known)
        assert not left, left
        assert box.psql(content.format(f"WHERE id <= {since}")) == before
        assert box.run("ls /var/backups/fediops.mastodon 2>/dev/null", check=False).out.count(".dump") == 0
        assert apply(box, tmp_path, "convert_encoding")["state"] == "kept"
        prove(box)
