// System: how Escrow itself is. What the doctor finds is the answer of /v1/doctor; everything else here that of /v1/status, which the
// shell asks for every few seconds anyway.

import { get, isAbort } from '../api.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { card, empty, facts, icon, loading, number, ordersLink, plural, problem, sagaLink, status } from '../show.js';
import { table } from '../table.js';
import { duration, when } from '../time.js';

export const title = 'System';

export function render(context) {
  const head = h('div', { class: 'page-head' }, h('h1', {}, 'System'), h('p', { class: 'lead' }, 'How Escrow itself is.'));
  const body = h('div', { class: 'page' }, loading('how Escrow is'));
  const list = table({ caption: 'Sagas, as Escrow sees them', columns: columns(), key: (it) => it.saga, empty: () => empty('No saga is followed yet', 'Start Escrow with a folder of definitions: --sagas.') });
  const doctor = consult(context);
  let isDrawn = false;
  const parts = { problems: h('div', {}), connections: h('div', {}), reading: h('div', {}), program: h('div', {}) };
  const draw = (it) => {
    if (!isDrawn) {
      fill(
        body,
        card('What is wrong', parts.problems),
        h('div', { class: 'columns' }, card('Connections', parts.connections), card('What waits', parts.reading)),
        card('Doctor', doctor.node, { wide: true, id: 'doctor' }),
        card('Sagas', list.node, { wide: true }),
        card('This program', parts.program),
      );
      isDrawn = true;
    }
    fill(parts.problems, problems(it));
    fill(parts.connections, connections(it.bus));
    fill(parts.reading, waits(it));
    fill(parts.program, program(it));
    list.show(it.sagas);
  };
  const ends = [context.status.on(draw), doctor.stop];
  return { node: h('div', { class: 'page' }, head, body), stop: () => ends.forEach((end) => end()) };
}

// What a look at database, definitions and broker finds. Escrow itself does not look more often than every few seconds, whoever asks.
function consult(context) {
  const lead = h('p', { class: 'soft', role: 'status', 'aria-live': 'polite' });
  const place = h('div', {}, h('p', { class: 'soft' }, 'Looking at database, definitions and broker …'));
  const list = table({
    caption: 'What the doctor found, problems first',
    key: (it) => `${it.area} ${it.what}`,
    columns: [
      { head: 'Level', cell: (it) => status(LEVELS[it.level] ?? it.level, it.level) },
      { head: 'Area', cell: (it) => it.area },
      { head: 'Found', class: 'break', cell: (it) => it.what },
      { head: 'Do', class: 'break', cell: (it) => it.advice ?? '' },
    ],
    empty: () => empty('Nothing was found', 'There was nothing to look at.'),
  });
  let said = '';
  const read = async () => {
    try {
      const answer = await get('/v1/doctor', {}, context.signal);
      list.show(answer.findings);
      if (!list.node.isConnected) fill(place, list.node);
      const words = `${plural(answer.problems, 'problem')}, ${plural(answer.warnings, 'warning')}, ${plural(answer.findings.length, 'check')}; looked at `;
      if (words + answer.at !== said) fill(lead, words, when(answer.at));
      said = words + answer.at;
    } catch (error) {
      if (!isAbort(error)) fill(place, problem(error, read));
    }
  };
  read();
  return { node: h('div', {}, lead, place), stop: live.every(CONSULT_EVERY_S, read) };
}

const LEVELS = { ok: 'done', warning: 'behind', problem: 'stuck' };
const CONSULT_EVERY_S = 30;

function problems(it) {
  const found = [
    ...it.problems,
    ...it.sagas.filter((saga) => saga.sight === 'blind').map((saga) => `saga ${saga.saga} is not seen: ${saga.sight_detail}`),
    ...it.sagas.flatMap((saga) => Object.entries(saga.unbound).map(([exchange, reason]) => `saga ${saga.saga} is not bound to exchange ${exchange}: ${reason}`)),
  ];
  if (found.length === 0) {
    return h('p', { class: 'row' }, status('done', 'Nothing'), h('span', { class: 'soft' }, 'Permissions, policies and the database are looked at more closely by the doctor, below.'));
  }
  return [
    h('ul', { class: 'plain problems' }, found.map((text) => h('li', { class: 'tone-bad' }, icon('triangle'), h('span', {}, sentence(text))))),
    h('p', { class: 'hint' }, 'The doctor, below, looks more closely and says what to mend.'),
  ];
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

const connected = (is, text = is ? 'connected' : 'not connected') => status(is ? 'done' : 'stuck', text);

function connections(bus) {
  if (!bus) return empty('No broker', 'Events come over HTTP only: POST /v1/events. Give --amqp-url to follow a broker.');
  return facts([
    ['Database', connected(true)],
    ['Broker, reading', connected(bus.consuming_connected)],
    ['Broker, publishing', connected(bus.publishing_connected)],
    ['Tap', bus.consuming ? status('done', 'read here') : status('behind', 'read by another replica, or by none')],
    bus.problem && ['Trouble', bus.problem],
  ]);
}

function waits(it) {
  const { bus } = it;
  const tap = bus && (bus.tap_depth === null ? 'not known' : depth(bus.tap_depth, bus.tap_bound));
  return facts([
    bus && ['In the tap', tap],
    bus && ['Lag at the last canary', bus.lag_seconds === null ? 'not known' : duration(bus.lag_seconds)],
    ['To be published', it.outbox.rows === 0 ? 'nothing' : [number(it.outbox.rows), ', the oldest ', when(it.outbox.oldest_at)]],
    ['Gaps not resolved', it.doubts.gaps === 0 ? 'none' : number(it.doubts.gaps)],
    ['Messages in doubt', it.doubts.quarantine === 0 ? 'none' : h('a', { href: '/quarantine' }, number(it.doubts.quarantine))],
    ['Read up to', when(it.as_of)],
  ]);
}

// How full the tap is: what comes when it is full is lost, and recorded as a gap.
function depth(messages, bound) {
  if (!bound) return `${number(messages)} messages`;
  const share = messages / bound;
  const meter = h('meter', { min: 0, max: bound, high: bound * 0.8, low: bound * 0.5, optimum: 0, value: String(messages), 'aria-label': 'How full the tap is' });
  return h('span', { class: 'depth' }, `${number(messages)} of ${number(bound)} messages`, meter, share > 0.8 && status('behind', 'nearly full'));
}

function columns() {
  return [
    { head: 'Saga', cell: (it) => sagaLink(it.saga) },
    { head: 'Sight', cell: (it) => [status(it.sight), it.sight_detail && h('p', { class: 'soft small' }, it.sight_detail)] },
    { head: 'Read up to', cell: (it) => when(it.watermark) },
    { head: 'Mode', cell: (it) => status(it.mode) },
    { head: 'Brake', cell: (it) => (it.brake ? (it.brake.latched_at ? status('stuck', 'on') : `off, ${it.brake.counted} of ${it.brake.orders}`) : 'none') },
    { head: 'Running', numeric: true, cell: (it) => orders(it, 'running') },
    { head: 'Compensating', numeric: true, cell: (it) => orders(it, 'compensating') },
    { head: 'Stuck', numeric: true, cell: (it) => orders(it, 'stuck') },
    { head: 'Not bound', class: 'break', cell: (it) => Object.keys(it.unbound).join(', ') || '—' },
  ];
}

const orders = (it, name) => ordersLink({ saga: it.saga, status: name }, number(it.orders[name] ?? 0), { 'aria-label': `${it.orders[name] ?? 0} ${name} orders of ${it.saga}` });

function program(it) {
  return facts([
    ['Version', it.version],
    it.build && ['Build', h('code', {}, it.build)],
    ['Name', [it.name, h('span', { class: 'soft' }, ` its tap is escrow.tap.${it.name}`)]],
    ['Runs since', when(it.started_at)],
    ['Clock of the database', when(it.now)],
    ['More', h('span', { class: 'row' }, h('a', { href: '/docs', target: '_blank', rel: 'noopener' }, 'API'), h('a', { href: '/metrics', target: '_blank', rel: 'noopener' }, 'Metrics'), h('a', { href: '/readyz', target: '_blank', rel: 'noopener' }, 'Readiness'))],
  ]);
}
