// Copyright: fediops.mastodon contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Own streaming server: websockets fed from Redis. What the two generations of
// logs look like is decided by ./logging.
'use strict';

const http = require('http');
const path = require('path');
const { randomUUID } = require('crypto');

// Only this one file is read, and only in production.
require('dotenv').config({
  path: path.resolve(__dirname, '..', process.env.NODE_ENV === 'production' ? '.env.production' : '.env'),
  quiet: true,
});

const { Redis } = require('ioredis');
const pg = require('pg');
const { WebSocketServer } = require('ws');
const log = require('./logging');

const env = process.env;
const SUBSCRIBED_FOR = 60 * 18;

if (!['production', 'development'].includes(env.NODE_ENV)) {
  throw new Error('Unable to resolve postgresql database configuration, NODE_ENV is not set properly');
}

const pool = new pg.Pool(env.DATABASE_URL ? { connectionString: env.DATABASE_URL } : {
  user: env.DB_USER || 'mastodon',
  password: env.DB_PASS || '',
  database: env.DB_NAME || 'mastodon_production',
  host: env.DB_HOST || 'localhost',
  port: Number(env.DB_PORT || 5432),
  max: Number(env.DB_POOL || 10),
  connectionTimeoutMillis: 15000,
});
pool.on('error', (err) => log.error(err, 'Database Client Error!'));

function redisClient() {
  const options = { retryStrategy: (times) => Math.min(times * 500, 5000) };
  const client = env.REDIS_URL ? new Redis(env.REDIS_URL, options) : new Redis({
    ...options,
    host: env.REDIS_HOST || 'localhost',
    port: Number(env.REDIS_PORT || 6379),
    db: Number(env.REDIS_DB || 0),
    password: env.REDIS_PASSWORD || undefined,
  });
  client.on('error', (err) => log.error(err, 'Redis Client Error!'));
  return client;
}

const redis = redisClient();
const subscriber = redisClient();
const clients = new Map(); // channel -> set of sockets
let connected = 0;

subscriber.on('message', (channel, message) => {
  for (const socket of clients.get(channel) || []) socket.send(message);
});

async function accountOf(token) {
  const found = await pool.query(
    'SELECT users.account_id FROM oauth_access_tokens JOIN users ON users.id = resource_owner_id WHERE token = $1 AND revoked_at IS NULL LIMIT 1',
    [token],
  );
  if (found.rowCount === 0) throw Object.assign(new Error('Invalid access token'), { status: 401 });
  return found.rows[0].account_id;
}

async function subscribe(socket, account) {
  const channel = `timeline:${account}`;
  if (!clients.has(channel)) {
    clients.set(channel, new Set());
    await subscriber.subscribe(channel);
  }
  clients.get(channel).add(socket);
  connected += 1;
  await redis.set(`subscribed:${channel}`, '1', 'EX', SUBSCRIBED_FOR);
  socket.on('close', () => {
    connected -= 1;
    clients.get(channel).delete(socket);
  });
}

function metrics() {
  const values = {
    connected_clients: connected,
    connected_channels: clients.size,
    pg_pool_total_connections: pool.totalCount,
    pg_pool_idle_connections: pool.idleCount,
    pg_pool_waiting_queries: pool.waitingCount,
    redis_subscriptions: clients.size,
  };
  return Object.entries(values)
    .map(([name, value]) => `# TYPE mastodon_streaming_${name} gauge\nmastodon_streaming_${name} ${value}\n`)
    .join('');
}

function answer(res, status, type, body) {
  res.writeHead(status, { 'Content-Type': type, 'Access-Control-Allow-Origin': '*' });
  res.end(body);
}

const server = http.createServer((req, res) => {
  req.id = randomUUID();
  res.setHeader('X-Request-Id', req.id);
  log.request(req, res);
  const { pathname } = new URL(req.url, 'http://streaming');
  if (pathname === '/api/v1/streaming/health') return answer(res, 200, 'text/plain', 'OK');
  if (pathname === '/metrics') return answer(res, 200, 'text/plain; version=0.0.4', metrics());
  if (pathname.startsWith('/api/v1/streaming')) {
    log.failed(req, new Error('Missing access token'));
    return answer(res, 401, 'application/json', '{"error":"Missing access token"}');
  }
  return answer(res, 404, 'application/json', '{"error":"Not found"}');
});

const sockets = new WebSocketServer({ noServer: true });
server.on('upgrade', async (req, socket, head) => {
  req.id = randomUUID();
  try {
    const query = new URL(req.url, 'http://streaming').searchParams;
    const account = await accountOf(query.get('access_token') || req.headers['sec-websocket-protocol'] || '');
    sockets.handleUpgrade(req, socket, head, (ws) => {
      subscribe(ws, account).catch((err) => log.failed(req, err));
    });
  } catch (err) {
    log.failed(req, err);
    const [code, text] = err.status ? [401, 'Unauthorized'] : [500, 'Internal Server Error'];
    socket.end(`HTTP/1.1 ${code} ${text}\r\nConnection: close\r\n\r\n`);
  }
});

const bind = env.SOCKET || Number(env.PORT || 4000);
const started = () => log.listening(env.SOCKET || `${env.BIND || '127.0.0.1'}:${bind}`);
server.on('error', (err) => {
  log.error(err, 'Streaming server error');
  process.exit(1);
});
const listen = () => (env.SOCKET ? server.listen(bind, started) : server.listen(bind, env.BIND || '127.0.0.1', started));
if (log.waitsForRedis) subscriber.once('ready', listen);
else listen();

// Both endings look like success to systemd; only Restart=always helps.
function leave() {
  server.close();
  process.exit(0);
}
process.on('SIGINT', leave);
process.on('SIGTERM', leave);
process.on('uncaughtException', (err) => {
  log.error(err, 'Uncaught exception');
  leave();
});
