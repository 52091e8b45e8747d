// Quarantine: messages that could not be read or placed, by reason, until somebody decides.
//
//   /quarantine?reason=…      GET /v1/quarantine, newest first, page by page
//   /quarantine/{id}          GET /v1/quarantine/{id}: what was wrong, the envelope, and every byte that is kept
//
// What a message holds is foreign: it is shown as text nodes and as hexadecimal, and never as markup.

import { get, post } from '../api.js';
import { ask, who, why } from '../dialog.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { card, copy, empty, facts, loading, number, orderLink, problem, prose, sagaLink, status, tag, word } from '../show.js';
import { table } from '../table.js';
import { when } from '../time.js';
import { virtual } from '../virtual.js';

export const title = (context) => (context.params.id ? `Message ${context.params.id}` : 'Quarantine');

const LIST = '/v1/quarantine';
const AT_ONCE = 100;

// What each reason means, and what helps.
const REASONS = {
  unreadable: 'The body is not what the definition says it is (no JSON, say). Mend the producer or `read.body`, then replay.',
  no_event: 'No event name was found where `read.event` looks. Mend `read`, then replay.',
  no_order_id: 'No order id was found where `read.order_id` looks. Mend `read`, or replay it with the order it belongs to.',
  bad_order_id: 'What stands where the order id should be is none: empty, longer than 256 bytes, or a fraction.',
  bad_event: 'What stands where the event name should be is none: empty or longer than 256 bytes.',
  condition_failed: 'A `where` condition could not be evaluated on this body. Mend the condition, then replay.',
  unplaced: 'No order waited for it. Replay it with the order it belongs to, or drop it.',
  corrupt_order: 'The order it is for cannot be read from the database: `escrow audit verify` says why.',
  refused: 'The database refused what it would have become.',
};

export const render = (context) => (context.params.id ? one(context) : all(context));

// ---- the list -------------------------------------------------------------------------------------------------------------------

function all(context) {
  let query = context.query;
  let rows = [];
  let cursor = null;
  const groups = h('div', { class: 'tabs', role: 'group', 'aria-label': 'By reason' });
  const hint = h('p', { class: 'hint' });
  const said = h('div', {}, loading('quarantine'));
  const more = h('div', { class: 'row' });
  const list = table({ caption: 'Messages in quarantine, newest first', columns: columns(), key: (it) => it.id, empty: () => none(query) });
  list.node.hidden = true;
  const node = h(
    'div',
    { class: 'page' },
    h('div', { class: 'page-head' }, h('h1', {}, 'Quarantine'), h('p', { class: 'lead' }, 'Messages that could not be read or placed. Nothing is lost: each waits until somebody decides.')),
    groups,
    hint,
    said,
    list.node,
    more,
  );

  async function read(after) {
    const filter = { reason: query.get('reason'), saga: query.get('saga'), exchange: query.get('exchange'), resolved: query.get('resolved') };
    try {
      const answer = await get(LIST, { ...filter, limit: AT_ONCE, cursor: after }, context.signal);
      rows = after ? [...rows, ...answer.messages] : answer.messages;
      cursor = answer.next_cursor;
      fill(said);
      list.node.hidden = false;
      list.show(rows);
      fill(more, cursor && h('button', { type: 'button', on: { click: () => read(cursor) } }, 'Show more'));
      drawGroups();
    } catch (error) {
      if (!context.signal.aborted) fill(said, problem(error, () => read()));
    }
  }

  async function drawGroups() {
    const chosen = query.get('reason') ?? '';
    let counted = new Map();
    try {
      const { reasons } = await get(`${LIST}/reasons`, {}, context.signal);
      counted = new Map(reasons.map((it) => [it.reason, it.count]));
    } catch (error) {
      if (context.signal.aborted) return;
    }
    const sum = [...counted.values()].reduce((all, it) => all + it, 0);
    const to = (name, value) => {
      const next = new URLSearchParams(query);
      if (value) next.set(name, value);
      else next.delete(name);
      return `/quarantine${next.size > 0 ? `?${next}` : ''}`;
    };
    const link = (reason, text, count) =>
      h('a', { href: to('reason', reason), 'aria-current': chosen === reason ? 'true' : null }, text, ' ', h('span', { class: 'soft' }, number(count)));
    const shown = Object.keys(REASONS).filter((it) => counted.get(it) || it === chosen);
    const isAll = query.get('resolved') === 'true';
    fill(
      groups,
      link('', 'All', sum),
      shown.map((it) => link(it, word(it), counted.get(it) ?? 0)),
      h('a', { class: 'tabs-more', href: to('resolved', isAll ? '' : 'true') }, isAll ? 'Only what waits' : 'Also what was dealt with'),
    );
    fill(hint, prose(REASONS[chosen] ?? ''));
    hint.hidden = !REASONS[chosen];
  }

  read();
  const end = live.every(10, () => rows.length <= AT_ONCE && read());
  return {
    node,
    stop: end,
    changed(next) {
      query = next.query;
      read();
    },
  };
}

const none = (query) =>
  query.size > 0
    ? empty('No message fits this choice', 'Others may wait for another reason.', h('a', { href: '/quarantine' }, 'All that wait'))
    : empty('Quarantine is empty', 'Every message so far could be read and placed. One that cannot will wait here with the reason, and can be replayed after a fix.');

function columns() {
  return [
    { head: 'Message', cell: (it) => h('a', { href: `/quarantine/${it.id}`, class: 'id', 'aria-label': `Message ${it.id}` }, it.id) },
    { head: 'Came', cell: (it) => when(it.at) },
    { head: 'Reason', cell: (it) => tag(word(it.reason), it.resolved ? 'calm' : 'bad') },
    { head: 'What was wrong', class: 'break', cell: (it) => it.detail },
    { head: 'Event', class: 'break', cell: (it) => it.event ?? '—' },
    { head: 'Order', cell: (it) => order(it) },
    { head: 'Exchange', class: 'break', cell: (it) => [it.exchange || 'HTTP', it.routing_key && h('span', { class: 'soft' }, ` · ${it.routing_key}`)] },
    { head: 'Bytes', numeric: true, cell: (it) => number(it.body_bytes) },
    { head: 'Since then', cell: (it) => (it.resolved ? `${word(it.resolved)} by ${it.resolved_by}` : 'waits') },
  ];
}

const order = (it) => (it.order_id ? (it.saga ? orderLink(it.saga, it.order_id) : h('span', { class: 'id' }, it.order_id)) : '—');

// ---- one message ----------------------------------------------------------------------------------------------------------------

function one(context) {
  const id = context.params.id;
  const body = h('div', { class: 'page' }, loading('the message'));
  const head = h('div', { class: 'page-head' }, h('h1', {}, `Message ${id}`));
  const node = h('div', { class: 'page' }, h('p', { class: 'small' }, h('a', { href: '/quarantine' }, 'Quarantine')), head, body);
  let viewer = null;

  async function read() {
    try {
      draw(await get(`${LIST}/${encodeURIComponent(id)}`, {}, context.signal));
    } catch (error) {
      if (context.signal.aborted) return;
      if (error.status === 404) fill(body, empty('There is no such message', error.message, h('a', { href: '/quarantine' }, 'All that wait')));
      else fill(body, problem(error, read));
    }
  }

  function draw(it) {
    viewer?.stop();
    viewer = bytes(it);
    const done = (text) => (answer) => answer && (context.say(text), read());
    const actions = !it.resolved && [
      h('button', { type: 'button', class: 'primary', on: { click: () => replay(it).then(done('Replayed')) } }, 'Replay'),
      h('button', { type: 'button', on: { click: () => drop(it).then(done('Dropped')) } }, 'Drop'),
    ];
    fill(head, h('h1', {}, `Message ${id}`), it.resolved ? status(it.resolved === 'dropped' ? 'gone' : 'resolved', it.resolved) : status('open', 'waits for a decision'), h('div', { class: 'page-actions' }, actions));
    fill(
      body,
      card('Why it is here', h('div', { class: 'stack' },
        h('p', { class: 'row' }, tag(word(it.reason), it.resolved ? 'calm' : 'bad'), h('span', { class: 'break' }, it.detail)),
        h('p', { class: 'hint' }, prose(REASONS[it.reason] ?? '')),
        facts([
          ['Came', when(it.at)],
          ['Exchange', it.exchange || 'HTTP'],
          ['Routing key', it.routing_key || 'none'],
          ['Saga', it.saga ? sagaLink(it.saga) : 'of none in particular'],
          ['Event', it.event ?? 'not known'],
          ['Order', order(it)],
          it.resolved && [`${word(it.resolved)} by`, `${it.resolved_by}: ${it.resolved_reason}`],
        ]),
      )),
      card('Body', viewer.node, { actions: [h('span', { class: 'soft' }, `${number(it.body_bytes)} bytes`), viewer.text !== null && copy(viewer.text, 'the body')] }),
      card('Headers and properties', h('pre', { tabindex: '0', role: 'region', 'aria-label': 'Headers and properties' }, JSON.stringify(it.envelope, null, 2))),
    );
  }

  read();
  return { node, stop: () => viewer?.stop() };
}

function replay(it) {
  return ask({
    title: `Replay message ${it.id}`,
    text: h('p', {}, 'It is read again by the definitions of now, as if it came now. What it does is journaled.'),
    fields: [
      { name: 'order_id', label: 'Order id', value: it.order_id ?? '', hint: 'Only where the message does not say which order it belongs to.' },
      why(),
      who(),
    ],
    confirm: 'Replay',
    submit: ({ order_id: orderId, reason }) => post(`${LIST}/${it.id}/replay`, orderId && orderId !== it.order_id ? { order_id: orderId, reason } : { reason }),
  });
}

function drop(it) {
  return ask({
    title: `Drop message ${it.id}`,
    text: h('p', {}, 'It will never be applied. Orders that were in doubt because of it are in doubt no more.'),
    fields: [why(), who()],
    confirm: 'Drop',
    danger: true,
    submit: ({ reason }) => post(`${LIST}/${it.id}/drop`, { reason }),
  });
}

// ---- bytes ----------------------------------------------------------------------------------------------------------------------

const PER_LINE = 16;

// The body as text where it is text, and as bytes: offset, hexadecimal, and what can be printed.
function bytes(it) {
  const text = it.body;
  const raw = text === null ? fromBase64(it.body_base64 ?? '') : new TextEncoder().encode(text);
  if (raw.length === 0 && it.body_bytes > 0) {
    return { node: empty('Its content is not kept', 'It was larger than --max-body; only its hash is known.'), text: null, stop() {} };
  }
  if (raw.length === 0) return { node: empty('The body is empty', 'The message has no content; only its headers may say what it was.'), text: null, stop() {} };
  const hex = virtual({ label: `Bytes of message ${it.id}`, estimate: 20, draw: (line) => h('code', { class: 'hex' }, hexLine(raw, line)) });
  hex.node.classList.add('hex-lines');
  const isShort = raw.length < it.body_bytes && h('p', { class: 'hint' }, `The first ${number(raw.length)} bytes are kept.`);
  hex.count(Math.ceil(raw.length / PER_LINE));
  const plain = text !== null && h('pre', { class: 'body-text', tabindex: '0', role: 'region', 'aria-label': 'Body as text' }, pretty(text));
  const node = h('div', { class: 'bytes' }, plain, isShort, text === null ? hex.node : h('details', {}, h('summary', {}, 'As bytes'), hex.node));
  return { node, text, stop: () => hex.stop() };
}

// Numbers too long for JavaScript stay as they were written.
function pretty(text) {
  try {
    const value = JSON.parse(text);
    return /\d{16,}/.test(text) ? text : JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}

function fromBase64(text) {
  const binary = atob(text);
  return Uint8Array.from(binary, (it) => it.charCodeAt(0));
}

function hexLine(raw, line) {
  const at = line * PER_LINE;
  const part = [...raw.subarray(at, at + PER_LINE)];
  const hex = part.map((it) => it.toString(16).padStart(2, '0')).join(' ').padEnd(PER_LINE * 3 - 1);
  const shown = part.map((it) => (it >= 32 && it < 127 ? String.fromCharCode(it) : '·')).join('');
  return `${at.toString(16).padStart(6, '0')}  ${hex}  ${shown}`;
}
