// A client as programs of the legacy event system are, on the package `ws`: it says hello with its
// session, emits an event, asks the server something and listens. Ends with 0 when all of that worked.
// Run by scripts/legacy-client, through the test a_real_javascript_client_connects.
'use strict';
const { WebSocket } = require('ws');

const context = { uuid: '7c9e6679-7425-40de-944b-e07fc1f90ae7', environment: 'browser' };
const sessionId = 'session-1';
const pending = new Map();
const listeners = new Map();
const socket = new WebSocket(process.argv[2]);

const fail = (why) => {
  console.log(`failed: ${why}`);
  process.exit(1);
};
setTimeout(() => fail('nothing happened for 20 s'), 20_000).unref();

const send = (message) => socket.send(JSON.stringify(message));

const emit = (eventName, data) =>
  send({
    messageType: 'event',
    context,
    origin: 'browser/events',
    endpoint: 'server/events',
    payload: {
      context, sessionId, eventName, data, source: 'page', timestamp: new Date().toISOString(),
    },
  });

const request = (endpoint, payload) =>
  new Promise((resolve) => {
    const correlationId = `client_${Date.now()}_${Math.random().toString(36).slice(2, 10)}`;
    pending.set(correlationId, resolve);
    send({
      messageType: 'request', context, origin: 'browser/console', endpoint,
      payload: { context, sessionId, ...payload }, correlationId,
    });
  });

const waitFor = (name) => new Promise((resolve) => listeners.set(name, resolve));

socket.addEventListener('message', ({ data }) => {
  const message = JSON.parse(data.toString());
  if (message.messageType === 'response') {
    pending.get(message.correlationId)?.(message.payload);
  } else if (message.messageType === 'event') {
    listeners.get(message.payload.eventName)?.(message.payload.data);
  }
});
socket.addEventListener('error', ({ message }) => fail(message));
socket.addEventListener('open', async () => {
  send({
    messageType: 'event',
    endpoint: 'session/handshake',
    payload: { sessionId, timestamp: new Date().toISOString() },
  });
  const health = waitFor('health.update');
  emit('chat:said', { text: 'hello' });
  const { pong } = await request('server/commands/ping', {});
  if (pong !== 1) fail(`pong is ${pong}`);
  const { status } = await health;
  if (status !== 'healthy') fail(`status is ${status}`);
  console.log('ok: handshake, event, response, event');
  socket.close();
});
