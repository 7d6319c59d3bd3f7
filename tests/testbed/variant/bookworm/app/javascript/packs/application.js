// Copyright: fediops.mastodon contributors
// SPDX-License-Identifier: GPL-3.0-or-later
document.getElementById('mastodon')?.setAttribute('data-ready', 'yes');
