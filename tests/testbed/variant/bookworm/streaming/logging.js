// Copyright: fediops.mastodon contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Until 4.2: npmlog on stderr, every line with its level in front, no time.
'use strict';

const log = require('npmlog');

log.level = process.env.LOG_LEVEL || 'verbose';

module.exports = {
  // This generation answered nobody before Redis did.
  waitsForRedis: true,
  error: (err, message) => log.error(message, String(err)),
  failed: (req, err) => log.error(req.id, err.toString()),
  request: () => {},
  listening: (address) => log.warn('', `Worker 1 now listening on ${address}`),
};
