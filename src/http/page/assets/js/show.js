// How things look everywhere: statuses, ids, numbers, empty places, problems. One way each, so that a word means the same on all pages.
//
//   status(word)               an order's or a step's status: shape, word and colour (never colour alone)
//   word(text)                 'timed_out' → 'timed out'
//   number(n)                  thousands apart
//   orderLink(saga, id), sagaLink(saga), incidentLink(id, text)
//   ordersLink(filter, text)   the list with this filter
//   copy(text, what)           a button that copies; works without HTTPS
//   empty(title, text, ...more)   an empty place: names the cause and what to do
//   problem(error, again)      a failure with its sentence and a button to try again
//   loading(what)              said while the first answer is awaited
//   card(title, body, { id, actions })   a section with a heading
//   facts([[term, detail], …]) a description list
//   prose(text)                a sentence of Escrow's, its `names` and moments set apart
//   icon(name)                 decorative; give words beside it

import { orderPath, search } from './api.js';
import { h, svg } from './dom.js';
import { clock } from './time.js';

const ICONS = {
  dot: 'M8 4.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7z',
  ring: 'M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10zM8 5a3 3 0 1 1 0 6a3 3 0 1 1 0-6z',
  half: 'M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10zM8 5v6a3 3 0 1 1 0-6z',
  triangle: 'M8 2.5 14.5 13.5h-13zM7.2 6.5v3.4h1.6V6.5zM7.2 10.8v1.5h1.6v-1.5z',
  check: 'M6.6 12.6 2.6 8.6 4 7.2l2.6 2.6L12 4.4l1.4 1.4z',
  cross: 'M4.4 3 8 6.6 11.6 3 13 4.4 9.4 8l3.6 3.6-1.4 1.4L8 9.4 4.4 13 3 11.6 6.6 8 3 4.4z',
  square: 'M4 4h8v8H4z',
  back: 'M6.5 3v3H9a4 4 0 0 1 0 8H5v-2h4a2 2 0 0 0 0-4H6.5v3L2 7z',
  skip: 'M3 4l5 4-5 4zM8 4l5 4-5 4z',
  bar: 'M3 7h10v2H3z',
  clock: 'M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2zM8 4a4 4 0 1 1 0 8a4 4 0 1 1 0-8zM7.2 5v3.4l2.4 2.2 1-1.2-1.8-1.6V5z',
  eye: 'M8 3.5C4.5 3.5 2 6.2 1 8c1 1.800 3.500 4.500 7 4.500S14 9.800 15 8c-1-1.800-3.500-4.500-7-4.500zM8 5.500a2.500 2.500 0 1 1 0 5a2.500 2.500 0 1 1 0-5z',
};

// word → [shape, tone]
const STATUSES = {
  running: ['dot', 'info'],
  compensating: ['back', 'warn'],
  stuck: ['triangle', 'bad'],
  completed: ['check', 'ok'],
  compensated: ['back', 'calm'],
  cancelled: ['bar', 'calm'],
  failed: ['cross', 'bad'],
  closed: ['square', 'calm'],
  pending: ['ring', 'calm'],
  waiting: ['half', 'info'],
  done: ['check', 'ok'],
  timed_out: ['clock', 'bad'],
  skipped: ['skip', 'calm'],
  compensation_failed: ['cross', 'bad'],
  live: ['dot', 'ok'],
  behind: ['clock', 'warn'],
  blind: ['eye', 'bad'],
  open: ['triangle', 'bad'],
  acknowledged: ['half', 'warn'],
  resolved: ['check', 'ok'],
  refused: ['cross', 'bad'],
  gone: ['bar', 'calm'],
  stopped: ['square', 'warn'],
  act: ['check', 'ok'],
  observe: ['eye', 'warn'],
};

export const ORDER_STATUSES = [
  'running', 'compensating', 'stuck', 'completed', 'compensated', 'cancelled', 'failed', 'closed',
];

export const REASONS = [
  'timed_out', 'failed', 'order_overdue', 'compensation_overdue', 'compensation_unroutable', 'compensation_refused',
  'compensation_failed', 'template_failed', 'held', 'unproven', 'observe',
];

export const word = (text) => String(text ?? '').replaceAll('_', ' ');

export const number = (value) => (value === null || value === undefined ? '—' : Number(value).toLocaleString('en-GB'));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export function icon(name) {
  const shape = svg('path', { d: ICONS[name] ?? ICONS.dot, 'fill-rule': 'evenodd' });
  return svg('svg', { viewBox: '0 0 16 16', class: 'icon', 'aria-hidden': 'true', focusable: 'false' }, shape);
}

export function status(name, text = word(name)) {
  const [shape, tone] = STATUSES[name] ?? ['dot', 'calm'];
  return h('span', { class: ['status', `tone-${tone}`] }, icon(shape), h('span', {}, text));
}

export const tone = (name) => (STATUSES[name] ?? ['dot', 'calm'])[1];

export function tag(text, kind = 'calm') {
  return h('span', { class: ['tag', `tone-${kind}`] }, text);
}

export function orderLink(saga, orderId, text = orderId) {
  return h('a', { href: orderPath(saga, orderId), class: 'id', title: `Order ${orderId} of saga ${saga}` }, text);
}

export function sagaLink(saga) {
  return h('a', { href: `/sagas/${encodeURIComponent(saga)}` }, saga);
}

export function incidentLink(id, text) {
  return h('a', { href: `/incidents/${encodeURIComponent(id)}` }, text);
}

export function ordersLink(filter, text, properties = {}) {
  return h('a', { href: `/orders${search(filter)}`, ...properties }, text);
}

// A sentence of Escrow's: `names` stand out, and moments are shown as the reader wants times.
export function prose(text) {
  return String(text).split(/(`[^`]+`|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/).map((part, at) => {
    if (at % 2 === 0) return part;
    return part.startsWith('`') ? h('span', { class: 'mono' }, part.slice(1, -1)) : clock(part);
  });
}

export function copy(text, what) {
  const button = h('button', { type: 'button', class: 'quiet small', title: `Copy ${what}`, 'aria-label': `Copy ${what}` }, 'Copy');
  button.addEventListener('click', async () => {
    const done = await copyText(text);
    button.textContent = done ? 'Copied' : 'Not allowed';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  });
  return button;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Plain HTTP has no clipboard; the old way still works.
    const area = h('textarea', { class: 'hidden', value: text, 'aria-hidden': 'true' });
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

export function empty(title, text, ...more) {
  return h('div', { class: 'empty' }, h('p', { class: 'empty-title' }, title), h('p', {}, text), ...more);
}

export function problem(error, again) {
  const retry = again && h('button', { type: 'button', on: { click: again } }, 'Try again');
  const more = (error.errors ?? []).filter((it) => it.detail && !error.message.includes(it.detail));
  return h(
    'div',
    { class: 'problem', role: 'alert' },
    h('p', {}, icon('triangle'), ' ', prose(error.message || 'Something went wrong on this page.')),
    more.length > 0 && h('ul', {}, more.map((it) => h('li', {}, h('code', {}, it.pointer), ' ', it.detail))),
    retry,
  );
}

export function loading(what) {
  return h('p', { class: 'loading', role: 'status' }, `Reading ${what} …`);
}

export function card(title, body, { id, actions, wide } = {}) {
  const label = id ? `${id}-title` : undefined;
  return h(
    'section',
    { class: ['card', wide && 'wide'], id, 'aria-labelledby': label },
    h('div', { class: 'card-head' }, h('h2', { id: label }, title), actions && h('div', { class: 'card-actions' }, actions)),
    body,
  );
}

export function facts(pairs) {
  const shown = pairs.filter(Boolean);
  return h('dl', { class: 'facts' }, shown.map(([term, detail]) => h('div', {}, h('dt', {}, term), h('dd', {}, detail))));
}
