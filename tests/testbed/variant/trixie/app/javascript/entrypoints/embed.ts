// Copyright: fediops.mastodon contributors
// SPDX-License-Identifier: GPL-3.0-or-later
export const embedded = window.self !== window.top;
