// Now: is anything wrong, how much is on its way, how fast, and what is due next. The page somebody opens at three in the morning.
//
// Everything is read again soon after anything was journaled (live.pulse), but never twice within two seconds.

import { get, isAbort } from '../api.js';
import { fill, h, svg, tell } from '../dom.js';
import * as live from '../live.js';
import {
  card, empty, incidentLink, loading, number, ORDER_STATUSES, orderLink, ordersLink, plural, problem, prose, sagaLink, status, tag, tone, word,
} from '../show.js';
import { table } from '../table.js';
import { countdown, duration, exact, now, onMode, when } from '../time.js';

export const title = 'Now';

const BETWEEN_MS = 2000;
// Durations change slowly, and each step of each saga is counted for them.
const STATS_MS = 10_000;
const DUE_SHOWN = 8;

export const NEXT_WORDS = {
  retry: 'message is sent again',
  time_out: 'step times out',
  retry_compensation: 'compensation is sent again',
  compensation_overdue: 'compensation is overdue',
  turn_back: 'order turns back',
  order_overdue: 'whole order is overdue',
};

export function render(context) {
  const lead = h('p', { class: 'lead', role: 'status', 'aria-live': 'polite' }, 'Reading how things stand …');
  const tiles = h('div', { class: 'tiles' });
  const incidents = h('div', {}, loading('incidents'));
  const sight = h('div', {}, loading('sagas'));
  const statuses = h('div', {}, loading('orders'));
  const flow = h('div', {}, loading('the traffic'));
  const steps = stepTable();
  const due = dueTable();
  const failed = h('div', {});

  const node = h(
    'div',
    { class: 'page now' },
    h('div', { class: 'page-head' }, h('h1', {}, 'Now'), lead),
    failed,
    tiles,
    h(
      'div',
      { class: 'split' },
      h(
        'div',
        { class: 'page' },
        card('Incidents', incidents, { id: 'incidents', actions: h('a', { href: '/incidents' }, 'All incidents') }),
        card('How long steps take', steps.node, { id: 'steps', actions: h('a', { href: '/map' }, 'Map') }),
        card('Orders begun and ended', flow, { id: 'flow' }),
      ),
      h(
        'div',
        { class: 'page' },
        card('How well Escrow sees', sight, { id: 'sight', actions: h('a', { href: '/system' }, 'System') }),
        card('Orders by status', statuses, { id: 'statuses', actions: h('a', { href: '/orders' }, 'All orders') }),
        card('Due next', due.node, { id: 'due' }),
      ),
    ),
  );

  let traffic = null;
  let stats = [];
  let statsAt = 0;
  let readAt = 0;
  let waiting = 0;

  const read = async () => {
    readAt = Date.now();
    try {
      const [stand, found, moved, soon] = await Promise.all([
        get('/v1/status', {}, context.signal),
        get('/v1/incidents', { status: 'open', limit: 50 }, context.signal),
        get('/v1/flow', {}, context.signal),
        get('/v1/due', { limit: DUE_SHOWN }, context.signal),
      ]);
      if (Date.now() - statsAt >= STATS_MS) {
        statsAt = Date.now();
        stats = await Promise.all(stand.sagas.map((it) => get(`/v1/sagas/${encodeURIComponent(it.saga)}/stats`, {}, context.signal)));
      }
      traffic = moved;
      fill(failed);
      draw(stand, found, soon);
    } catch (error) {
      if (!isAbort(error)) fill(failed, problem(error, read));
    }
  };

  const soon = () => {
    if (waiting !== 0) return;
    waiting = setTimeout(() => {
      waiting = 0;
      read();
    }, Math.max(0, readAt + BETWEEN_MS - Date.now()));
  };

  const draw = (stand, found, next) => {
    tell(lead, headline(stand, found.incidents));
    fill(tiles, drawTiles(stand, traffic));
    fill(incidents, drawIncidents(found, stand));
    fill(sight, stand.sagas.map(drawSight), stand.sagas.length === 0 && noSaga());
    fill(statuses, stand.sagas.map((saga) => drawStatuses(saga, stand.sagas.length > 1)));
    fill(flow, drawFlow(traffic));
    steps.show(stats.flatMap((it) => it.steps.map((step) => ({ ...step, saga: it.saga, many: stats.length > 1 }))));
    due.show(next.orders);
  };

  const ends = [
    live.pulse(soon),
    live.every(5, soon),
    onMode(() => traffic && fill(flow, drawFlow(traffic))),
  ];
  read();
  return {
    node,
    stop() {
      clearTimeout(waiting);
      for (const end of ends) end();
    },
  };
}

const sum = (counts, names) => names.reduce((total, name) => total + (counts[name] ?? 0), 0);
const over = (sagas, names) => sagas.reduce((total, saga) => total + sum(saga.orders, names), 0);

function headline(stand, incidents) {
  const stuck = over(stand.sagas, ['stuck']);
  const blind = stand.sagas.filter((it) => it.sight === 'blind').length;
  if (blind > 0) return `Escrow is blind on ${plural(blind, 'saga')}: what follows may be old.`;
  if (stuck === 0 && incidents.length === 0) return 'Nothing is stuck.';
  return `${plural(incidents.length, 'incident')}, ${plural(stuck, 'order')} stuck.`;
}

function drawTiles(stand, traffic) {
  const stuck = over(stand.sagas, ['stuck']);
  const way = over(stand.sagas, ['running', 'compensating']);
  const age = stand.as_of ? (now() - Date.parse(stand.as_of)) / 1000 : null;
  const worst = ['blind', 'behind', 'live'].find((it) => stand.sagas.some((saga) => saga.sight === it));
  return [
    tile('Stuck', number(stuck), { href: '/orders?status=stuck', tone: stuck > 0 ? 'bad' : 'ok', note: stuck > 0 ? 'need a person' : 'nobody is needed' }),
    tile('On their way', number(way), { href: '/orders?status=running,compensating', note: `${number(over(stand.sagas, ['compensating']))} turning back` }),
    tile('Begun a minute', rate(traffic.begun_per_minute), { note: 'over the last minute' }),
    tile('Ended a minute', rate(traffic.ended_per_minute), { note: 'over the last minute' }),
    tile('Watermark', age === null ? 'none' : old(age), {
      href: '/system',
      tone: worst === 'blind' ? 'bad' : worst === 'behind' ? 'warn' : undefined,
      note: worst === 'live' ? 'old; all before it is read' : worst ?? 'no saga yet',
    }),
    tile('To be sent', number(stand.outbox.rows), {
      tone: stand.outbox.rows > 100 ? 'warn' : undefined,
      note: stand.outbox.oldest_at ? ['oldest ', when(stand.outbox.oldest_at)] : 'nothing waits',
    }),
  ];
}

// The exact age of something younger than a second says nothing and flickers.
const old = (seconds) => (seconds < 1 ? 'under 1 s' : duration(seconds));

const rate = (value) => (value === null ? '…' : value < 10 ? String(value) : number(Math.round(value)));

function tile(label, value, { href, note, tone: shade } = {}) {
  const inner = [h('span', { class: 'tile-label' }, label), h('span', { class: 'tile-value' }, value), h('span', { class: 'tile-note' }, note)];
  const classes = ['tile', shade && `tone-${shade}`, shade && 'toned'];
  return href ? h('a', { href, class: classes }, inner) : h('div', { class: classes }, inner);
}

function drawIncidents({ incidents, next_cursor: more }, stand) {
  if (incidents.length === 0) {
    const orders = over(stand.sagas, ORDER_STATUSES);
    return orders === 0
      ? empty('No order yet', 'Escrow has seen no event of a saga so far. What the watched exchanges carry, and what is missing, is on the System page.', h('a', { href: '/system' }, 'Go to System'))
      : empty('No incident', `All ${plural(orders, 'order')} go their way or have ended. Orders that get stuck are gathered here by their cause.`);
  }
  const lines = incidents.slice(0, 8).map((it) =>
    h(
      'li',
      { class: 'incident', tabindex: '-1', data: { row: it.id } },
      h('span', { class: `incident-count tone-${it.acked_by ? 'warn' : 'bad'}` }, number(it.count)),
      h(
        'div',
        { class: 'incident-body' },
        h('p', {}, incidentLink(it.id, [h('strong', {}, word(it.cause)), it.step && [' in ', h('span', { class: 'mono' }, it.step)]]), it.acked_by && [' ', tag(`acknowledged by ${it.acked_by}`, 'warn')]),
        h('p', { class: 'soft' }, prose(it.why)),
        h('p', { class: 'small soft row' }, 'first ', when(it.first_at), ' · last ', when(it.last_at), it.count > 0 && [' · ', ordersLink({ incident: it.id }, `${plural(it.count, 'order')}`)]),
      ),
    ),
  );
  return [
    h('ul', { class: 'incidents' }, lines),
    (incidents.length > 8 || more) && h('p', {}, h('a', { href: '/incidents' }, `${incidents.length - 8} more${more ? ' and others' : ''}`)),
  ];
}

function drawSight(saga) {
  const age = saga.watermark ? (now() - Date.parse(saga.watermark)) / 1000 : null;
  const { brake } = saga;
  const unbound = Object.entries(saga.unbound);
  return h(
    'div',
    { class: 'sight' },
    h('div', { class: 'row spread' }, h('strong', {}, sagaLink(saga.saga)), h('span', { class: 'row' }, status(saga.sight), saga.mode === 'observe' && status('observe', 'only observes'))),
    saga.sight_detail && h('p', { class: 'tone-bad toned-text' }, saga.sight_detail),
    h('p', { class: 'soft' }, 'Watermark ', age === null ? 'not known yet' : [old(age), ' old'], saga.sight === 'behind' && ': deadlines wait until it has caught up'),
    brake && drawBrake(brake),
    !brake && h('p', { class: 'soft' }, 'No brake: the definition says so.'),
    unbound.map(([exchange, why]) => h('p', {}, h('span', { class: 'mono' }, exchange), ' ', tag('not bound', 'warn'), ' ', h('span', { class: 'soft' }, why))),
  );
}

function drawBrake(brake) {
  if (brake.latched_at) return h('p', {}, status('stuck', 'Brake is on'), ' since ', when(brake.latched_at), ': orders that would turn back are held.');
  const share = Math.min(1, brake.counted / brake.orders);
  const text = `${number(brake.counted)} of ${number(brake.orders)} turned back by timeout within ${brake.per}`;
  return h(
    'div',
    { class: 'brake' },
    h('div', { class: ['meter', share > 0.6 && 'tone-warn'], vars: { '--share': share }, 'aria-hidden': 'true' }, h('span', {})),
    h('p', { class: 'small soft' }, 'Brake off; ', text),
  );
}

const noSaga = () =>
  empty('No saga yet', 'Escrow follows nothing until a definition is loaded: give `escrow serve` a folder with --sagas, or check a file with `escrow check`.');

function drawStatuses(saga, named) {
  const present = ORDER_STATUSES.filter((it) => saga.orders[it]);
  const total = sum(saga.orders, ORDER_STATUSES);
  return h(
    'div',
    { class: 'statuses' },
    named && h('h3', {}, sagaLink(saga.saga)),
    total === 0 && h('p', { class: 'soft' }, 'No order yet.'),
    h('div', { class: 'share', 'aria-hidden': 'true' }, present.map((it) => h('span', { class: `tone-${tone(it)} share-${it}`, vars: { '--share': saga.orders[it] }, title: `${word(it)}: ${number(saga.orders[it])}` }))),
    h('ul', { class: 'status-counts' }, present.map((it) => h('li', {}, h('a', { href: `/orders?saga=${encodeURIComponent(saga.saga)}&status=${it}` }, status(it), h('span', { class: 'numeric' }, number(saga.orders[it])))))),
  );
}

function stepTable() {
  const longest = (row) => row.p99 ?? row.p95 ?? 0;
  let scale = 1;
  const list = table({
    caption: 'How long each step takes, and how many orders wait in it',
    key: (row) => `${row.saga}/${row.step}`,
    columns: [
      { head: 'Step', cell: (row) => [row.many && h('span', { class: 'soft' }, `${row.saga} · `), h('span', { class: 'mono' }, row.step)] },
      { head: 'Waiting', numeric: true, cell: (row) => (row.waiting > 0 ? ordersLink({ saga: row.saga, waiting_on: row.step }, number(row.waiting)) : h('span', { class: 'soft' }, '0')) },
      { head: 'Half within', numeric: true, cell: (row) => took(row.p50) },
      { head: '95 % within', numeric: true, cell: (row) => took(row.p95) },
      { head: 'Spread', class: 'spread-cell', cell: (row) => (row.p95 === null ? h('span', { class: 'soft small' }, row.samples === 0 ? 'nothing measured' : `${row.samples} of 30 measured`) : spreadBar(row, scale)) },
    ],
    empty: () => noSaga(),
  });
  return {
    node: list.node,
    show(rows) {
      scale = Math.max(...rows.map(longest), 0.001);
      list.show(rows);
    },
  };
}

const took = (seconds) => (seconds === null ? h('span', { class: 'soft' }, '—') : duration(seconds));

function spreadBar(row, scale) {
  const x = (seconds) => ((seconds ?? 0) / scale) * 100;
  return svg(
    'svg',
    { class: 'spread-bar', viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('rect', { x: 0, y: 4, width: x(row.p99), height: 2, class: 'fill-line' }),
    svg('rect', { x: 0, y: 2, width: x(row.p95), height: 6, class: 'fill-soft' }),
    svg('rect', { x: 0, y: 2, width: x(row.p50), height: 6, class: 'fill-accent' }),
  );
}

function dueTable() {
  return table({
    caption: 'Orders whose deadline comes next',
    key: (order) => `${order.saga}/${order.order_id}`,
    columns: [
      { head: 'Order', cell: (order) => orderLink(order.saga, order.order_id) },
      { head: 'What', cell: (order) => [order.next.step && h('span', { class: 'mono' }, `${order.next.step} `), h('span', { class: 'soft' }, NEXT_WORDS[order.next.action] ?? word(order.next.action))] },
      { head: 'When', numeric: true, cell: (order) => countdown(order.next.at) },
    ],
    empty: () => empty('Nothing is due within the hour', 'No order waits for a deadline: everything has ended, or what is open has hours left.'),
  });
}

// Bars for what began, a line for what ended; the same numbers below as a table.
export function drawFlow({ points }) {
  if (points.length < 2) return empty('Not known yet', 'Escrow looks every ten seconds and keeps a quarter of an hour. Wait for the second look.');
  const perMinute = (point, name) => (point[name] / Math.max(1, (Date.parse(point.to) - Date.parse(point.from)) / 1000)) * 60;
  const bars = points.map((it) => ({ to: it.to, begun: perMinute(it, 'begun'), ended: perMinute(it, 'ended') }));
  const most = nice(Math.max(...bars.flatMap((it) => [it.begun, it.ended]), 1));
  const [width, height] = [900, 120];
  const slots = 90;
  const slot = width / slots;
  const left = width - bars.length * slot;
  const y = (value) => height - (value / most) * height;
  const line = bars.map((it, at) => `${at === 0 ? 'M' : 'L'}${(left + (at + 0.5) * slot).toFixed(1)} ${y(it.ended).toFixed(1)}`).join('');
  const picture = svg(
    'svg',
    { class: 'flow-chart', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    [0.5, 1].map((share) => svg('line', { x1: 0, x2: width, y1: y(most * share), y2: y(most * share), class: 'grid' })),
    bars.map((it, at) => svg('rect', { x: left + at * slot + 1, y: y(it.begun), width: slot - 2, height: Math.max(0, height - y(it.begun)), class: 'begun' })),
    svg('path', { d: line, class: 'ended', 'vector-effect': 'non-scaling-stroke' }),
  );
  const rows = [...bars].reverse();
  return [
    h('div', { class: 'legend small' }, h('span', { class: 'legend-begun' }, 'begun'), h('span', { class: 'legend-ended' }, 'ended'), h('span', { class: 'soft' }, `a minute; the upper line is ${number(most)}`)),
    picture,
    h('div', { class: 'axis small soft' }, h('span', {}, '15 min ago'), h('span', {}, 'now')),
    h(
      'details',
      { class: 'twin' },
      h('summary', {}, 'As a table'),
      h(
        'div',
        { class: 'twin-table', tabindex: '0', role: 'region', 'aria-label': 'Orders begun and ended, as a table' },
        h(
          'table',
          { class: 'rows' },
          h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Until'), h('th', { scope: 'col', class: 'numeric' }, 'Begun a minute'), h('th', { scope: 'col', class: 'numeric' }, 'Ended a minute'))),
          h('tbody', {}, rows.map((it) => h('tr', {}, h('td', {}, exact(it.to, false)), h('td', { class: 'numeric' }, number(Math.round(it.begun))), h('td', { class: 'numeric' }, number(Math.round(it.ended)))))),
        ),
      ),
    ),
  ];
}

function nice(value) {
  const step = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((it) => it * step).find((it) => it >= value);
}
