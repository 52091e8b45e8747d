// What happens, as it happens.
//
//   pulse(fn)                    fn() soon after anything was journaled, at most once a second: read your summary again then
//   entries({ saga, order_id, step }, fn)   fn(entry) for every journal entry that fits
//   every(seconds, fn)           fn() now and then, and not while paused
//   state()                      { word: 'live' | 'paused' | 'away', since: when Escrow was last heard, in ms }; onState(fn) tells of changes
//   pause(), resume()            the reader's own switch
//
// Each of the first three gives a function that ends it. While the page is hidden or paused no connection is held and nothing is
// asked; afterwards every listener is called once (fn(null) for entries), because it may have missed something. A browser gives one
// server few connections, so every listener of the same filter shares one stream.

const streams = new Map();
const timers = new Set();
const watchers = new Set();
let paused = false;
let lastHeard = Date.now();
let away = false;
let word = 'live';

const isQuiet = () => paused || document.hidden;

export function pulse(listener) {
  return follow({ pulse: 'true' }, listener);
}

export function entries(filter, listener) {
  return follow(filter, listener);
}

export function every(seconds, act) {
  const timer = { act, seconds, id: 0 };
  timers.add(timer);
  start(timer);
  return () => {
    timers.delete(timer);
    clearInterval(timer.id);
  };
}

export const state = () => ({ word, since: lastHeard });

export function onState(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

// Told by the shell whenever Escrow answered, or did not.
export function heard(answered) {
  if (answered) lastHeard = Date.now();
  away = !answered;
  tell();
}

export function pause() {
  paused = true;
  settle();
}

export function resume() {
  paused = false;
  settle();
}

function start(timer) {
  clearInterval(timer.id);
  if (!isQuiet()) timer.id = setInterval(() => timer.act(), timer.seconds * 1000);
}

function follow(filter, listener) {
  const wanted = Object.entries(filter).filter(([, value]) => value !== undefined && value !== '');
  const key = new URLSearchParams(wanted).toString();
  let stream = streams.get(key);
  if (!stream) {
    stream = { key, listeners: new Set(), source: null, retry: 0, failures: 0 };
    streams.set(key, stream);
    if (!isQuiet()) open(stream);
  }
  stream.listeners.add(listener);
  return () => {
    stream.listeners.delete(listener);
    if (stream.listeners.size > 0) return;
    close(stream);
    streams.delete(key);
  };
}

const KINDS = [
  'event', 'deadline', 'retry', 'withheld', 'compensation', 'confirmation', 'would_send', 'command', 'late', 'repeated',
  'conflict', 'pulse',
];

function open(stream) {
  const source = new EventSource(`/v1/stream?${stream.key}`);
  stream.source = source;
  source.onopen = () => {
    if (stream.failures > 0) hand(stream, null);
    stream.failures = 0;
  };
  // The browser comes back by itself after a lost connection, and not after a refusal.
  source.onerror = () => {
    stream.failures += 1;
    if (source.readyState === EventSource.CLOSED) {
      close(stream);
      stream.retry = setTimeout(() => open(stream), Math.min(30, 2 ** stream.failures) * 1000);
    }
  };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => hand(stream, kind === 'pulse' ? null : JSON.parse(event.data)));
  }
}

function hand(stream, entry) {
  for (const listener of stream.listeners) listener(entry);
}

function close(stream) {
  clearTimeout(stream.retry);
  stream.source?.close();
  stream.source = null;
}

function settle() {
  for (const stream of streams.values()) {
    if (isQuiet()) close(stream);
    else if (!stream.source) {
      open(stream);
      hand(stream, null);
    }
  }
  for (const timer of timers) {
    start(timer);
    if (!isQuiet()) timer.act();
  }
  tell();
}

function tell() {
  word = paused ? 'paused' : away ? 'away' : 'live';
  for (const watcher of watchers) watcher(state());
}

document.addEventListener('visibilitychange', settle);
