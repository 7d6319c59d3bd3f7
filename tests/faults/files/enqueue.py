# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give Sidekiq jobs the way its client does: enqueue.py WORKER ARGUMENTS COUNT [QUEUE [SECONDS]].

WORKER may be "CLASS as JOB": what ActiveJob wraps, which Sidekiq then logs by its own name.
ARGUMENTS: JSON, one argument or a list of them; # in it is the number of the job. SECONDS: so long ago.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time

arguments, count = sys.argv[2], int(sys.argv[3])
worker, _as, wrapped = sys.argv[1].partition(" as ")
queue = sys.argv[4] if len(sys.argv) > 4 else "default"
now = time.time() - int(sys.argv[5] if len(sys.argv) > 5 else 0)
subprocess.run(["redis-cli", "sadd", "queues", queue], check=True, stdout=subprocess.DEVNULL)
jobs = [
    json.dumps(
        {
            "class": worker,
            **({"wrapped": wrapped} if wrapped else {}),
            "args": args if isinstance(args, list) else [args],
            "queue": queue,
            "retry": True,
            "jid": secrets.token_hex(12),
            "created_at": now,
            "enqueued_at": now,
        }
    )
    for args in (json.loads(arguments.replace("#", str(number))) for number in range(1, count + 1))
]
for start in range(0, count, 400):
    subprocess.run(["redis-cli", "lpush", "queue:" + queue, *jobs[start : start + 400]], check=True, stdout=subprocess.DEVNULL)
