// Incidents: one cause, one line, however many orders it holds up.
//
//   /incidents            GET /v1/incidents?status=open|resolved    the list, children below the incident that explains them
//   /incidents/{id}       one of them: why, since when, how many, which orders, who has it in hand, who was told
//   acknowledging         POST /v1/incidents/{id}/ack with a reason

import { get, post } from '../api.js';
import { ask, who, why } from '../dialog.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { card, empty, facts, incidentLink, loading, number, orderLink, ordersLink, problem, prose, sagaLink, status, tag, word } from '../show.js';
import { table } from '../table.js';
import { when } from '../time.js';

export const title = (context) => (context.params.id ? 'Incident' : 'Incidents');

const TOLD = { trigger: 'that it began', update: 'how it stands', resolve: 'that it is over' };
const LIST = '/v1/incidents';
const AT_ONCE = 100;

export const render = (context) => (context.params.id ? one(context) : all(context));

const state = (it) => (it.status === 'open' && it.acked_by ? 'acknowledged' : it.status);

// ---- the list -------------------------------------------------------------------------------------------------------------------

function all(context) {
  let wanted = context.query.get('status') ?? 'open';
  let rows = [];
  let cursor = null;
  const tabs = h('div', { class: 'tabs', role: 'group', 'aria-label': 'Which incidents' });
  const said = h('div', {}, loading('incidents'));
  const more = h('div', { class: 'row' });
  const list = table({ caption: 'Incidents', columns: columns(act), key: (it) => it.id, empty: () => none(wanted) });
  list.node.hidden = true;
  const node = h(
    'div',
    { class: 'page' },
    h('div', { class: 'page-head' }, h('h1', {}, 'Incidents'), h('p', { class: 'lead' }, 'One cause, one line, however many orders it holds up.')),
    tabs,
    said,
    list.node,
    more,
  );

  async function read(after) {
    try {
      const answer = await get(LIST, { status: wanted, limit: AT_ONCE, cursor: after }, context.signal);
      rows = after ? [...rows, ...answer.incidents] : answer.incidents;
      cursor = answer.next_cursor;
      fill(said);
      draw();
    } catch (error) {
      if (context.signal.aborted) return;
      list.node.hidden = true;
      if (error.status === 400 && wanted !== 'open') {
        fill(said, empty('Only open incidents are kept here', 'An incident of this Escrow ends with the orders it holds up; the journal of each order says what became of it.'));
      } else fill(said, problem(error, () => read()));
    }
  }

  function draw() {
    list.node.hidden = false;
    list.show(below(rows));
    fill(more, cursor && h('button', { type: 'button', on: { click: () => read(cursor) } }, 'Show more'));
    fill(tabs, ...['open', 'resolved'].map((it) => h('a', { href: it === 'open' ? '/incidents' : `/incidents?status=${it}`, 'aria-current': it === wanted ? 'true' : null }, word(it))));
  }

  async function act(it) {
    if (await acknowledge(it)) {
      context.say('Acknowledged');
      read();
    }
  }

  draw();
  list.node.hidden = true;
  read();
  // A page further down is not pulled away from under the reader.
  const again = () => rows.length <= AT_ONCE && read();
  const ends = [live.pulse(again), live.every(15, again)];
  return {
    node,
    stop: () => ends.forEach((end) => end()),
    changed(next) {
      wanted = next.query.get('status') ?? 'open';
      rows = [];
      draw();
      read();
    },
  };
}

const none = (wanted) =>
  wanted === 'open'
    ? empty('Nothing is held up', 'No order needs a person, and Escrow sees all it should. What goes wrong from now on appears here at once.')
    : empty('None has ended yet', 'An incident that is over is listed here, with how long it lasted.');

// Children below the incident that explains them, in the order given.
function below(rows) {
  const ids = new Set(rows.map((it) => it.id));
  const children = (id) => rows.filter((it) => it.parent === id).flatMap((it) => [{ ...it, isChild: true }, ...children(it.id)]);
  return rows.filter((it) => !it.parent || !ids.has(it.parent)).flatMap((it) => [it, ...children(it.id)]);
}

function columns(act) {
  return [
    { head: 'State', cell: (it) => status(state(it)) },
    {
      head: 'Incident',
      cell: (it) =>
        h(
          'div',
          { class: ['incident-line', it.isChild && 'incident-child'] },
          h('p', {}, incidentLink(it.id, prose(sentence(it.why)))),
          h('p', { class: 'row small' }, tag(word(it.cause), it.status === 'resolved' ? 'calm' : 'bad'), it.saga && [h('span', { class: 'soft' }, 'saga '), sagaLink(it.saga)], it.step && h('span', { class: 'soft' }, `step ${it.step}`), it.isChild && h('span', { class: 'soft' }, 'explained by the one above')),
        ),
    },
    { head: 'Orders', numeric: true, cell: (it) => behind(it) },
    { head: 'Peak', numeric: true, cell: (it) => (it.peak === null ? '—' : number(it.peak)) },
    { head: 'First', cell: (it) => when(it.first_at) },
    { head: 'Last', cell: (it) => when(it.last_at) },
    { head: 'In hand', cell: (it) => it.acked_by ?? (it.status === 'resolved' ? '—' : button(it, act)) },
  ];
}

const button = (it, act) =>
  h('button', { type: 'button', 'aria-label': `Acknowledge: ${it.why}`, on: { click: () => act(it) } }, 'Acknowledge');

// The number, leading to the orders where it is about orders.
const behind = (it) => (it.count > 0 && it.status !== 'resolved' ? ordersLink({ incident: it.id }, number(it.count)) : number(it.count));

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

// ---- one ------------------------------------------------------------------------------------------------------------------------

function one(context) {
  const id = context.params.id;
  const body = h('div', { class: 'page' }, loading('the incident'));
  const node = h('div', { class: 'page' }, h('h1', {}, 'Incident'), body);

  async function read() {
    try {
      const [{ incidents }, found] = await Promise.all([get(LIST, { status: 'open', limit: 500 }, context.signal), find(id, context)]);
      if (found) draw(found, incidents);
      else fill(body, gone(id));
    } catch (error) {
      if (!context.signal.aborted) fill(body, problem(error, read));
    }
  }

  function draw(it, others) {
    context.name(`${word(it.cause)}${it.saga ? ` · ${it.saga}` : ''}`);
    const parent = it.parent && (others.find((other) => other.id === it.parent) ?? { id: it.parent, why: it.parent });
    const children = others.filter((other) => other.parent === it.id);
    const act = async () => (await acknowledge(it)) && (context.say('Acknowledged'), read());
    const actions = [
      it.status !== 'resolved' && !it.acked_by && h('button', { type: 'button', class: 'primary', on: { click: act } }, 'Acknowledge'),
      it.count > 0 && it.status !== 'resolved' && ordersLink({ incident: it.id }, `Show the ${number(it.count)} ${it.count === 1 ? 'order' : 'orders'}`, { class: 'button' }),
      it.saga && h('a', { href: `/map/${encodeURIComponent(it.saga)}`, class: 'button' }, 'Map'),
    ];
    fill(node, h('div', { class: 'page-head' }, h('h1', {}, prose(sentence(it.why)))), h('div', { class: 'row' }, status(state(it)), tag(word(it.cause), 'bad'), h('span', { class: 'page-actions' }, actions)), body);
    fill(
      body,
      card('What is known', facts([
        ['Orders now', number(it.count)],
        it.peak !== null && ['At most', number(it.peak)],
        ['First', when(it.first_at)],
        ['Last', when(it.last_at)],
        it.saga && ['Saga', sagaLink(it.saga)],
        it.step && ['Step', it.step],
        ['In hand', it.acked_by ?? 'nobody yet'],
        parent && ['Explained by', incidentLink(parent.id, prose(sentence(parent.why)))],
      ])),
      children.length > 0 && card('Explains', h('ul', { class: 'plain' }, children.map((child) => h('li', {}, incidentLink(child.id, prose(sentence(child.why))))))),
      card('Who was told', told(it)),
      card(
        'Some of its orders',
        it.samples.length > 0
          ? h('ul', { class: 'plain incident-samples' }, it.samples.map((order) => h('li', {}, orderLink(it.saga, order))))
          : empty('It is not about single orders', 'It concerns what Escrow sees or does as a whole; System says more.', h('a', { href: '/system' }, 'System')),
      ),
    );
  }

  read();
  const ends = [live.pulse(read), live.every(15, read)];
  return { node, stop: () => ends.forEach((end) => end()) };
}

// One row for each channel and notice: what reached whom, and what did not, and why.
function told(it) {
  if (it.notices.length === 0) {
    return empty('Nobody was told so far', 'What may be explained by something else is told a little later; what another incident explains, by that one. alerts.yaml says who is told.');
  }
  const list = table({
    caption: 'What was told of it, and to whom',
    key: (row) => `${row.number} ${row.channel}`,
    columns: [
      { head: 'Channel', cell: (row) => row.channel },
      { head: 'What', cell: (row) => TOLD[row.kind] ?? row.kind },
      { head: 'State', cell: (row) => status(row.state === 'sent' ? 'done' : row.state, row.state === 'pending' ? 'to be sent' : row.state) },
      { head: 'Tries', numeric: true, cell: (row) => number(row.tries) },
      { head: 'Last trouble', class: 'break', cell: (row) => row.problem ?? '' },
      { head: 'Written', cell: (row) => when(row.created_at) },
      { head: 'Taken', cell: (row) => (row.settled_at ? when(row.settled_at) : '') },
    ],
  });
  list.show([...it.notices].reverse());
  return list.node;
}

// With what was told of it; null where it is forgotten.
async function find(id, context) {
  try {
    return await get(`${LIST}/${encodeURIComponent(id)}`, {}, context.signal);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}

const gone = (id) =>
  empty('This incident is over', `Nothing is held up by ${id} any more: its orders went on, or a person closed them.`, h('a', { href: '/incidents' }, 'All open incidents'));

function acknowledge(it) {
  return ask({
    title: 'Acknowledge this incident',
    text: [h('p', {}, prose(sentence(it.why))), h('p', { class: 'soft' }, 'It stays open until its cause is gone. Others see that you have it in hand, and you are not alerted again.')],
    fields: [why(), who()],
    confirm: 'Acknowledge',
    submit: ({ reason }) => post(`${LIST}/${encodeURIComponent(it.id)}/ack`, { reason }),
  });
}
