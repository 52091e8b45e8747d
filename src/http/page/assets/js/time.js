// Times, shown as the reader wants them: relative ("3 min ago"), local or UTC. The choice is remembered and changes everything on
// the screen at once; the full ISO text is always in the hover and in `datetime`.
//
//   when(iso)              a <time> that keeps itself right; '—' where there is none
//   clock(iso)             a <time> with the hour, for the middle of a sentence: local, or UTC if chosen
//   countdown(iso)         a <time> that says how long until then ("in 40 s", "12 s over")
//   duration(seconds)      "42 s", "3 min 20 s", "2 h 5 min"
//   exact(iso)             text: the moment to the millisecond, in local time or UTC
//   now()                  milliseconds by the server's clock, once one answer told it
//   mode(), setMode(word)  'relative' | 'local' | 'utc'; setMode remembers and redraws
//   onMode(fn)             called after a change (for axes and tips that are not <time>)

const KEY = 'escrow.time';
const MODES = ['relative', 'local', 'utc'];
const listeners = new Set();
let current = MODES.includes(read(KEY)) ? read(KEY) : 'relative';
let skew = 0;

export const mode = () => current;
export const now = () => Date.now() + skew;

// Told by every answer that says what time it is.
export function serverSays(iso) {
  const said = Date.parse(iso);
  if (Number.isFinite(said)) skew = said - Date.now();
}

export function setMode(word) {
  current = word;
  write(KEY, word);
  redraw();
  for (const listener of listeners) listener(word);
}

export function onMode(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function when(iso) {
  return element(iso, 'when');
}

export function countdown(iso) {
  return element(iso, 'countdown');
}

export function clock(iso) {
  return element(iso, 'clock');
}

function element(iso, kind) {
  if (!iso) return document.createTextNode('—');
  const node = document.createElement('time');
  node.dateTime = iso;
  node.dataset.show = kind;
  node.textContent = text(node);
  node.title = iso;
  return node;
}

function text(node) {
  const at = Date.parse(node.dateTime);
  if (node.dataset.show === 'countdown') {
    const left = (at - now()) / 1000;
    return left >= 0 ? `in ${whole(left)}` : `${whole(-left)} over`;
  }
  if (current === 'relative' && node.dataset.show === 'when') {
    const past = (now() - at) / 1000;
    if (Math.abs(past) < 1) return 'just now';
    return past >= 0 ? `${whole(past)} ago` : `in ${whole(-past)}`;
  }
  return exact(node.dateTime, false);
}

// What changes each second is not shown in tenths.
const whole = (seconds) => duration(Math.floor(seconds));

export function exact(iso, withMillis = true) {
  if (!iso) return '—';
  const date = new Date(iso);
  const pad = (number, width = 2) => String(number).padStart(width, '0');
  const utc = current === 'utc';
  const part = (name) => (utc ? date[`getUTC${name}`]() : date[`get${name}`]());
  const today = new Date(now());
  const sameDay = utc
    ? today.toISOString().slice(0, 10) === date.toISOString().slice(0, 10)
    : today.toDateString() === date.toDateString();
  const day = sameDay ? '' : `${part('FullYear')}-${pad(part('Month') + 1)}-${pad(part('Date'))} `;
  const millis = withMillis ? `.${pad(part('Milliseconds'), 3)}` : '';
  return `${day}${pad(part('Hours'))}:${pad(part('Minutes'))}:${pad(part('Seconds'))}${millis}${utc ? ' UTC' : ''}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '—';
  if (seconds < 0.0005) return '0 s';
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${(Math.floor(seconds * 10) / 10).toFixed(seconds % 1 < 0.1 ? 0 : 1)} s`;
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return join(Math.floor(whole / 60), 'min', whole % 60, 's');
  if (whole < 86400) return join(Math.floor(whole / 3600), 'h', Math.floor((whole % 3600) / 60), 'min');
  return join(Math.floor(whole / 86400), 'd', Math.floor((whole % 86400) / 3600), 'h');
}

function join(large, largeUnit, small, smallUnit) {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

function redraw() {
  for (const node of document.querySelectorAll('time[data-show]')) {
    const next = text(node);
    if (node.textContent !== next) node.textContent = next;
  }
}

setInterval(() => {
  if (!document.hidden) redraw();
}, 1000);

// The browser may forbid storage; then a choice lasts as long as the page.
export function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function write(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Nothing depends on it.
  }
}
