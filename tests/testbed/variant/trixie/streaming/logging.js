// Copyright: fediops.mastodon contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Since 4.3: one JSON object a line on stdout, the level as a word.
'use strict';

const pino = require('pino');
const { pinoHttp } = require('pino-http');

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
const wanted = process.env.LOG_LEVEL;

const logger = pino({
  name: 'streaming',
  level: LEVELS.includes(wanted) ? wanted : 'info',
  formatters: { level: (label) => ({ level: label }) },
  redact: ['req.headers["sec-websocket-key"]', 'req.headers.authorization', 'req.query.access_token'],
});
const http = pinoHttp({ logger, genReqId: (req) => req.id });

module.exports = {
  error: (err, message) => logger.error({ err }, message),
  failed: (req, err) => logger.error({ err, requestId: req.id }, err.message),
  request: (req, res) => http(req, res),
  listening: (address) => logger.info(`Streaming API now listening on ${address}`),
};
