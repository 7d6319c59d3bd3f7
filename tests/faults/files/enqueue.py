# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give Sidekiq jobs the way its client does: enqueue.py WORKER ARGUMENT COUNT."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time

worker, argument, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
now = time.time()
subprocess.run(["redis-cli", "sadd", "queues", "default"], check=True, stdout=subprocess.DEVNULL)
jobs = [
    json.dumps(
        {
            "class": worker,
            "args": [argument],
            "queue": "default",
            "retry": True,
            "jid": secrets.token_hex(12),
            "created_at": now,
            "enqueued_at": now,
        }
    )
    for _each in range(count)
]
for start in range(0, count, 400):
    subprocess.run(["redis-cli", "lpush", "queue:default", *jobs[start : start + 400]], check=True, stdout=subprocess.DEVNULL)
