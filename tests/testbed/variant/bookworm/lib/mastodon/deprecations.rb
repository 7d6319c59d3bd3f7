# Copyright: fediops.mastodon contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Nothing is refused yet: REDIS_NAMESPACE is, from 4.4 on.
