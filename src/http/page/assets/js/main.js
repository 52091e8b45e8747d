// The shell: which page belongs to the address, what stands around every page, and the keyboard.
//
//   address ──▶ route ──▶ the module of that page ──▶ render(context) ──▶ <main>
//
// A page is a module with
//
//   export const title = 'Orders';                    text, or a function of the context
//   export function render(context) → { node, stop?, changed? }
//
// `node` goes into <main>; begin it with an <h1>. `stop()` is called when the reader leaves. `changed(context)` is called instead of a new
// render() when only the query behind the same path changed; a page without it is rendered anew.
//
//   context.path, context.params     the path and what stands in its places, decoded: { saga, order_id }
//   context.query                    URLSearchParams of the address
//   context.go(url, { replace })     follow a link from code
//   context.say(text)                tell a screen reader, once
//   context.name(text)               the title of the window
//   context.signal                   aborted when the reader leaves: hand it to get()
//   context.status                   { value, on(fn) → end }: the last answer of /v1/status, asked for every few seconds
//
// Links are plain <a href>; a click on one within the page does not load it anew. A row that has `data-row` takes part in j and k, and Enter
// follows its first link (or the one with data-open). Nothing is ever written by a single key.

import { get } from './api.js';
import { fill, h } from './dom.js';
import * as live from './live.js';
import { searchBox } from './search.js';
import * as session from './session.js';
import { copy, empty, icon, number, problem } from './show.js';
import * as time from './time.js';

const ROUTES = [
  ['/', () => import('./pages/now.js'), 'now'],
  ['/orders', () => import('./pages/orders.js'), 'orders'],
  ['/sagas/:saga/orders/:order_id', () => import('./pages/order.js'), 'orders'],
  ['/actions', () => import('./pages/actions.js'), 'orders'],
  ['/actions/:id', () => import('./pages/action.js'), 'orders'],
  ['/map', () => import('./pages/map.js'), 'map'],
  ['/map/:saga', () => import('./pages/map.js'), 'map'],
  ['/incidents', () => import('./pages/incidents.js'), 'incidents'],
  ['/incidents/:id', () => import('./pages/incidents.js'), 'incidents'],
  ['/quarantine', () => import('./pages/quarantine.js'), 'quarantine'],
  ['/quarantine/:id', () => import('./pages/quarantine.js'), 'quarantine'],
  ['/sagas', () => import('./pages/sagas.js'), 'sagas'],
  ['/sagas/:saga', () => import('./pages/sagas.js'), 'sagas'],
  ['/system', () => import('./pages/system.js'), 'system'],
].map(([pattern, load, place]) => ({ parts: pattern.split('/'), load, place }));

// The letter goes after `g`.
const PLACES = [
  { name: 'now', title: 'Now', href: '/', letter: 'n' },
  { name: 'orders', title: 'Orders', href: '/orders', letter: 'o' },
  { name: 'map', title: 'Map', href: '/map', letter: 'm' },
  { name: 'incidents', title: 'Incidents', href: '/incidents', letter: 'i' },
  { name: 'quarantine', title: 'Quarantine', href: '/quarantine', letter: 'q' },
  { name: 'sagas', title: 'Sagas', href: '/sagas', letter: 's' },
  { name: 'system', title: 'System', href: '/system', letter: 'y' },
];

// Every so many seconds the shell asks how Escrow is; unheard of for longer than STALE, what is shown is called stale.
const ASK_EVERY = 5;
const STALE = 10;

const main = document.getElementById('main');
let current = null;

// ---- the address -------------------------------------------------------------------------------------------------------------

function match(path) {
  const given = path.split('/');
  for (const route of ROUTES) {
    if (route.parts.length !== given.length) continue;
    const params = {};
    const fits = route.parts.every((part, at) => {
      if (!part.startsWith(':')) return part === given[at];
      params[part.slice(1)] = decode(given[at]);
      return given[at] !== '';
    });
    if (fits) return { ...route, params };
  }
  return null;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function go(url, { replace = false } = {}) {
  const there = new URL(url, location.href);
  if (there.href !== location.href) history[replace ? 'replaceState' : 'pushState'](null, '', there);
  return show({ moved: !replace });
}

async function show({ moved }) {
  const path = location.pathname;
  if (current?.path === path && current.page?.changed) {
    current.context.query = new URLSearchParams(location.search);
    current.page.changed(current.context);
    return;
  }
  leave();
  const found = match(path);
  mark(found?.place);
  if (!found) {
    named('No such page');
    fill(main, h('h1', {}, 'No such page'), empty(`Nothing is at ${path}`, 'The address may be cut off or mistyped.', h('a', { href: '/' }, 'Go to Now')));
    return;
  }
  const leaving = new AbortController();
  const here = { path, page: null, leaving };
  current = here;
  const context = {
    path,
    params: found.params,
    query: new URLSearchParams(location.search),
    go,
    say,
    name: (text) => current === here && named(text),
    signal: leaving.signal,
    status,
  };
  here.context = context;
  try {
    const module = await found.load();
    if (current !== here) return;
    named(typeof module.title === 'function' ? module.title(context) : module.title);
    here.page = module.render(context);
    fill(main, here.page.node);
  } catch (error) {
    if (current !== here) return;
    console.error(error);
    const isUnfetched = error instanceof TypeError && /module/.test(error.message);
    const said = isUnfetched ? new Error('A part of this page could not be fetched: Escrow does not answer, or it was replaced by another version.') : error;
    fill(main, h('div', { class: 'page' }, h('h1', {}, 'This page could not be shown'), problem(said, () => location.reload())));
  }
  if (moved) {
    window.scrollTo(0, 0);
    const head = main.querySelector('h1');
    head?.setAttribute('tabindex', '-1');
    head?.focus({ preventScroll: true });
  }
}

function leave() {
  current?.leaving.abort();
  current?.page?.stop?.();
  current = null;
}

function named(text) {
  document.title = text ? `${text} · Escrow` : 'Escrow';
}

document.addEventListener('click', (event) => {
  const link = event.target.closest?.('a[href]');
  const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlain || event.defaultPrevented || link.target || link.hasAttribute('download')) return;
  const there = new URL(link.href);
  if (there.origin !== location.origin || !match(there.pathname)) return;
  if (there.pathname === location.pathname && there.search === location.search && there.hash) return;
  event.preventDefault();
  go(link.href);
});

window.addEventListener('popstate', () => show({ moved: false }));

// ---- what stands around every page ---------------------------------------------------------------------------------------------

const nav = document.getElementById('nav');
const notices = document.getElementById('notices');
const counts = {};

const status = {
  value: null,
  listeners: new Set(),
  on(listener) {
    this.listeners.add(listener);
    if (this.value) listener(this.value);
    return () => this.listeners.delete(listener);
  },
};

function drawNav() {
  const links = PLACES.map((place) => {
    const count = h('span', { class: 'count', hidden: true });
    counts[place.name] = count;
    const title = `${place.title} (g then ${place.letter})`;
    return h('li', {}, h('a', { href: place.href, data: { place: place.name }, title }, h('span', {}, place.title), count));
  });
  const timeChoice = choice('Times', 'time', ['relative', 'local', 'utc'], { relative: 'ago', local: 'local', utc: 'UTC' }, time.mode(), time.setMode);
  const themes = ['system', 'light', 'dark'];
  const themeChoice = choice('Theme', 'theme', themes, {}, time.read('escrow.theme') ?? 'system', setTheme);
  const keys = h('button', { type: 'button', class: 'quiet', on: { click: showHelp } }, 'Keyboard ', h('kbd', {}, '?'));
  const docs = h('a', { href: '/docs', target: '_blank', rel: 'noopener' }, 'API');
  fill(nav, h('ul', {}, links), h('div', { class: 'side-foot' }, session.card(), timeChoice, themeChoice, h('div', { class: 'side-more' }, keys, docs)));
}

// A choice of a few words, as radio buttons that look like one strip.
function choice(label, name, values, texts, chosen, act) {
  const options = values.map((value) => {
    const input = h('input', { type: 'radio', name: `choice-${name}`, value, checked: value === chosen, on: { change: () => act(value) } });
    return h('label', {}, input, h('span', {}, texts[value] ?? value));
  });
  return h('fieldset', { class: 'strip' }, h('legend', {}, label), options);
}

function setTheme(theme) {
  time.write('escrow.theme', theme);
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

function mark(place) {
  for (const link of nav.querySelectorAll('a[data-place]')) {
    if (link.dataset.place === place) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

// The number beside a page of the navigation; 0 hides it.
function count(place, value, what) {
  const node = counts[place];
  node.hidden = !value;
  fill(node, value ? [number(value), h('span', { class: 'hidden' }, ` ${what}`)] : null);
}

const liveButton = h('button', { type: 'button', class: 'live', on: { click: () => (live.state().word === 'paused' ? live.resume() : live.pause()) } });
document.getElementById('state').append(liveButton);

function drawState() {
  const { word, since } = live.state();
  const silent = Math.round((Date.now() - since) / 1000);
  const isStale = word !== 'paused' && silent > STALE;
  const shown = isStale ? 'stale' : word;
  const texts = {
    live: ['Live', 'What you see follows Escrow. Click to pause.'],
    paused: ['Paused', 'Nothing is read. Click to follow again.'],
    away: ['No answer', 'Escrow does not answer. What you see is the last that was read.'],
    stale: [`Stale ${time.duration(silent)}`, 'Nothing was heard of Escrow for this long. What you see is the last that was read.'],
  };
  const [text, title] = texts[shown];
  liveButton.className = `live live-${shown}`;
  liveButton.title = title;
  liveButton.setAttribute('aria-label', `${text}. ${title}`);
  const label = liveButton.lastChild?.textContent;
  if (label !== text) fill(liveButton, icon(shown === 'live' ? 'dot' : shown === 'paused' ? 'bar' : 'triangle'), h('span', {}, text));
}

async function askStatus() {
  try {
    const answer = await get('/v1/status');
    time.serverSays(answer.now);
    status.value = answer;
    live.heard(true);
    drawNotices(answer, null);
    for (const listener of status.listeners) listener(answer);
    const [incidents, quarantine] = await Promise.all([get('/v1/incidents', { status: 'open', limit: 500 }), get('/v1/quarantine', { limit: 100 })]);
    count('incidents', incidents.incidents.length, 'open');
    count('quarantine', quarantine.messages.length, 'waiting');
  } catch (error) {
    if (error.status === 0) live.heard(false);
    drawNotices(null, error);
  }
}

let noticed = '';

// What concerns every page: Escrow is blind or behind, something is away, the brake is on.
function drawNotices(answer, error) {
  const lines = [];
  if (error) lines.push(['bad', error.message]);
  for (const saga of answer?.sagas ?? []) {
    if (saga.sight === 'blind') lines.push(['bad', `Blind on saga ${saga.saga}: ${saga.sight_detail}. No deadline fires until Escrow sees again.`]);
    if (saga.sight === 'behind') lines.push(['warn', `Behind on saga ${saga.saga}: messages wait to be read, so deadlines wait too.`]);
  }
  for (const text of answer?.problems ?? []) lines.push(['warn', sentence(text)]);
  const key = JSON.stringify(lines);
  if (key === noticed) return;
  noticed = key;
  fill(notices, lines.map(([tone, text]) => h('p', { class: `notice tone-${tone}` }, icon('triangle'), h('span', {}, text), h('a', { href: '/system' }, 'System'))));
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

function say(text) {
  const place = document.getElementById('say');
  place.textContent = '';
  setTimeout(() => (place.textContent = text), 50);
}

// ---- search --------------------------------------------------------------------------------------------------------------------

const box = document.getElementById('search-box');

searchBox(document.getElementById('search'), box, { go, say });

// ---- the keyboard --------------------------------------------------------------------------------------------------------------

let afterG = 0;

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  const isTyping = event.target.closest?.('input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]');
  if (isTyping) {
    if (event.key === 'Escape') event.target.blur();
    return;
  }
  if (Date.now() - afterG < 1500) {
    afterG = 0;
    const place = PLACES.find((it) => it.letter === event.key);
    if (place) {
      event.preventDefault();
      go(place.href);
    }
    return;
  }
  const act = { '/': focusSearch, '?': showHelp, g: () => (afterG = Date.now()), j: () => step(1), k: () => step(-1), Enter: () => open(event) }[event.key];
  if (!act) return;
  if (event.key !== 'Enter') event.preventDefault();
  act();
});

function focusSearch() {
  box.focus();
  box.select();
}

function step(by) {
  const rows = [...main.querySelectorAll('[data-row]')].filter((it) => it.offsetParent !== null);
  if (rows.length === 0) return;
  const at = rows.indexOf(document.activeElement?.closest?.('[data-row]'));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + by))];
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
}

function open(event) {
  const row = event.target.closest?.('[data-row]');
  if (row !== event.target) return;
  (row.querySelector('a[data-open]') ?? row.querySelector('a[href]'))?.click();
}

function showHelp() {
  const lines = [
    [['/'], 'Search'],
    ...PLACES.map((place) => [['g', place.letter], place.title]),
    [['j'], 'Next row'],
    [['k'], 'Row before'],
    [['Enter'], 'Open the row'],
    [['Esc'], 'Leave a field or a dialog'],
    [['?'], 'This help'],
  ];
  const close = h('button', { type: 'button', class: 'primary' }, 'Close');
  const words = 'Search takes an order id, its beginning, or name=value: customer=Jane, status=stuck, older_than=10m. No key changes anything by itself.';
  const dialog = h(
    'dialog',
    { 'aria-labelledby': 'help-title' },
    h('h2', { id: 'help-title' }, 'Keyboard'),
    h('dl', { class: 'keys' }, lines.map(([keys, what]) => h('div', {}, h('dt', {}, keys.map((key) => h('kbd', {}, key))), h('dd', {}, what)))),
    h('p', { class: 'hint' }, words),
    h('div', { class: 'dialog-buttons' }, copy(location.href, 'the address of this page'), close),
  );
  close.addEventListener('click', () => dialog.close());
  dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// ---- begin ---------------------------------------------------------------------------------------------------------------------

drawNav();
session.begin((door) => {
  live.pause();
  leave();
  named('Sign in');
  fill(main, door);
});
drawState();
live.onState(drawState);
setInterval(drawState, 1000);
live.every(ASK_EVERY, askStatus);
askStatus();
show({ moved: false });
