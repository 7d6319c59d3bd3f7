# Copyright: fediops.mastodon contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What advice written for systemd means where docker compose runs Mastodon. Pure. Private to this collection."""

from __future__ import annotations

import re

from ansible_collections.fediops.mastodon.plugins.plugin_utils._text import clean_line

_OF_SYSTEMD = re.compile(r"systemctl|journalctl|bin/rails|bin/tootctl|\.env\.production")
_SAME = {
    "en": (
        "Containers run Mastodon here. With docker compose, in {directory}: docker compose logs --tail 100 SERVICE is for journalctl -u, "
        "docker compose restart SERVICE for systemctl restart, docker compose exec web … for commands of Mastodon, and settings of "
        ".env.production take effect with docker compose up -d (generation 1: docker-compose)."
    ),
    "fr": (
        "Mastodon tourne ici en conteneurs. Avec docker compose, dans {directory} : docker compose logs --tail 100 SERVICE "
        "remplace journalctl -u, docker compose restart SERVICE remplace systemctl restart, docker compose exec web … précède les "
        "commandes de Mastodon, et les réglages de .env.production prennent effet avec docker compose up -d (génération 1 : "
        "docker-compose)."
    ),
}
_UNNAMED = {"en": "the directory of its compose file", "fr": "le répertoire de son fichier compose"}


def in_containers(directory: str, advice: str) -> dict[str, str] | None:
    """The note for a host whose Mastodon runs in containers, when the advice names commands or files that are others there; else None.

    `directory` of the compose project, empty where nobody knows it.
    """
    if not _OF_SYSTEMD.search(advice) or "docker compose" in advice:
        return None
    return {language: text.format(directory=clean_line(directory, 200) or _UNNAMED[language]) for language, text in _SAME.items()}
