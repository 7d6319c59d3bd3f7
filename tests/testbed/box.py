# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
TOKEN = "standin-posting-token"
