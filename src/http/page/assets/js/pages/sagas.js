// Sagas: what is followed, in which mode, by which version, and what its definition says.
//
//   /sagas                       GET /v1/sagas
//   /sagas/{saga}?from=&to=      GET /v1/sagas/{saga}, and with ?version= the texts to compare
//   the mode                     PUT  /v1/sagas/{saga}/mode           the brake   POST /v1/sagas/{saga}/brake/reset
//   coverage                     GET  /v1/sagas/{saga}/events         asked only when it is opened

import { get, post, put } from '../api.js';
import { diff } from '../diff.js';
import { ask, who, why } from '../dialog.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { ORDER_STATUSES, card, copy, empty, facts, loading, number, ordersLink, problem, sagaLink, status, tag } from '../show.js';
import { table } from '../table.js';
import { when } from '../time.js';

export const title = (context) => (context.params.saga ? `Saga ${context.params.saga}` : 'Sagas');

export const render = (context) => (context.params.saga ? one(context) : all(context));

const at = (saga, path = '') => `/v1/sagas/${encodeURIComponent(saga)}${path}`;

// ---- the list -------------------------------------------------------------------------------------------------------------------

function all(context) {
  const said = h('div', {}, loading('sagas'));
  const none = () =>
    empty('No saga is followed yet', 'Write a definition, check it with escrow check, and start Escrow with it: escrow serve --sagas FOLDER. escrow peek shows what the services publish.');
  const list = table({ caption: 'Sagas', columns: columns(), key: (it) => it.saga, empty: none });
  list.node.hidden = true;
  const node = h('div', { class: 'page' }, h('div', { class: 'page-head' }, h('h1', {}, 'Sagas'), h('p', { class: 'lead' }, 'What Escrow follows, and how.')), said, list.node);
  const read = async () => {
    try {
      const { sagas } = await get('/v1/sagas', { limit: 500 }, context.signal);
      fill(said);
      list.node.hidden = false;
      list.show(sagas);
    } catch (error) {
      if (!context.signal.aborted) fill(said, problem(error, read));
    }
  };
  read();
  return { node, stop: live.every(5, read) };
}

function columns() {
  return [
    { head: 'Saga', cell: (it) => sagaLink(it.saga) },
    { head: 'Version', numeric: true, cell: (it) => it.version },
    { head: 'Mode', cell: (it) => status(it.mode) },
    { head: 'Sight', cell: (it) => status(it.sight) },
    { head: 'Running', numeric: true, cell: (it) => orders(it, 'running') },
    { head: 'Compensating', numeric: true, cell: (it) => orders(it, 'compensating') },
    { head: 'Stuck', numeric: true, cell: (it) => orders(it, 'stuck') },
    { head: 'Brake', cell: (it) => brakeWord(it.brake) },
    { head: 'Read up to', cell: (it) => when(it.as_of) },
    { head: 'Map', hidden: true, cell: (it) => h('a', { href: `/map/${encodeURIComponent(it.saga)}`, 'aria-label': `Map of ${it.saga}` }, 'Map') },
  ];
}

const orders = (it, name) => ordersLink({ saga: it.saga, status: name }, number(it.orders[name] ?? 0), { 'aria-label': `${it.orders[name] ?? 0} ${name} orders of ${it.saga}` });

function brakeWord(brake) {
  if (!brake) return tag('none');
  return brake.latched_at ? status('stuck', 'on') : h('span', { class: 'soft' }, `off, ${brake.counted} of ${brake.orders}`);
}

const brakeText = (brake) => [
  status(brake.latched_at ? 'stuck' : 'done', brake.latched_at ? 'on' : 'off'),
  h('span', { class: 'soft' }, ` ${number(brake.counted)} turned back by timeout within ${brake.per}; it holds from ${number(brake.orders)} on`),
  brake.latched_at && [', and does since ', when(brake.latched_at)],
];

// ---- one ------------------------------------------------------------------------------------------------------------------------

function one(context) {
  const saga = context.params.saga;
  let query = context.query;
  let shown = null;
  const head = h('div', { class: 'page-head' }, h('h1', {}, `Saga ${saga}`));
  const top = h('div', { class: 'page' }, loading('the saga'));
  const compared = h('div', { class: 'page' });
  const node = h('div', { class: 'page' }, head, top, compared, coverage(saga, context));

  async function read() {
    try {
      const detail = await get(at(saga), {}, context.signal);
      drawHead(detail);
      fill(top, cardOfState(detail), cardOfVersions(detail, query));
      const key = `${detail.version}?${query}`;
      if (shown !== key) await compare(detail);
      shown = key;
    } catch (error) {
      if (context.signal.aborted) return;
      if (error.status === 404) fill(top, empty('There is no such saga', error.message, h('a', { href: '/sagas' }, 'All sagas')));
      else fill(top, problem(error, read));
    }
  }

  function drawHead(detail) {
    const other = detail.mode === 'act' ? 'observe' : 'act';
    const done = (text) => (answer) => answer && (context.say(text), read());
    fill(
      head,
      h('h1', {}, `Saga ${saga}`),
      status(detail.sight),
      h(
        'div',
        { class: 'page-actions' },
        h('button', { type: 'button', on: { click: () => switchMode(saga, other).then(done(`The mode is ${other}`)) } }, other === 'act' ? 'Let it act' : 'Only observe'),
        detail.brake && h('button', { type: 'button', class: detail.brake.latched_at && 'primary', on: { click: () => resetBrake(saga, detail.brake).then(done('The brake is off')) } }, 'Reset the brake'),
        h('a', { href: `/map/${encodeURIComponent(saga)}`, class: 'button' }, 'Map'),
      ),
    );
  }

  // The text of one version, or what differs between two.
  async function compare(detail) {
    const to = Number(query.get('to') ?? detail.version);
    const from = query.get('from') ? Number(query.get('from')) : null;
    try {
      const after = to === detail.version ? detail : await get(at(saga), { version: to }, context.signal);
      const before = from === null || from === to ? null : await get(at(saga), { version: from }, context.signal);
      fill(compared, before ? cardOfDiff(before, after) : cardOfText(after));
    } catch (error) {
      if (!context.signal.aborted) fill(compared, problem(error, () => compare(detail)));
    }
  }

  read();
  const ends = [live.every(5, read)];
  return {
    node,
    stop: () => ends.forEach((end) => end()),
    changed(next) {
      query = next.query;
      read();
    },
  };
}

function cardOfState(it) {
  const unbound = Object.entries(it.unbound);
  return card('How it is followed', h('div', { class: 'stack' },
    facts([
      ['Mode', [status(it.mode), h('span', { class: 'soft' }, it.mode === 'act' ? ' it retries and compensates' : ' it tells, and asks nothing of the services')]],
      ['Sight', [status(it.sight), it.sight_detail && h('span', { class: 'soft' }, ` ${it.sight_detail}`)]],
      ['Read up to', when(it.as_of)],
      ['New orders open on', `version ${it.version}`],
      ['Brake', it.brake ? brakeText(it.brake) : 'none'],
      ['Watches', it.watch.join(', ')],
      ['For the whole order', it.within],
      ['Cancelled by', it.cancelled_by.join(', ') || 'nothing'],
    ]),
    unbound.length > 0 && h('div', { class: 'unbound' }, h('p', {}, 'Not bound yet; Escrow looks every 2 seconds:'), h('ul', { class: 'plain' }, unbound.map(([name, reason]) => h('li', {}, h('code', {}, name), `: ${reason}`)))),
    h('p', { class: 'row map-totals' }, ORDER_STATUSES.filter((name) => it.orders[name]).map((name) => ordersLink({ saga: it.saga, status: name }, [status(name), ' ', number(it.orders[name])], { class: 'map-total' }))),
  ));
}

function cardOfVersions(detail, query) {
  const to = query.get('to') ?? String(detail.version);
  const from = query.get('from') ?? '';
  const link = (name, version, chosen) => {
    const next = new URLSearchParams(query);
    next.set(name, version);
    const text = name === 'from' ? 'from' : 'to';
    return h('a', { href: `${location.pathname}?${next}`, class: ['pick', chosen && 'picked'], 'aria-current': chosen ? 'true' : null, 'aria-label': `Compare ${text} version ${version}` }, text);
  };
  const list = table({
    caption: `Versions of ${detail.saga}`,
    columns: [
      { head: 'Version', cell: (it) => [h('strong', {}, it.version), it.version === detail.version && [' ', tag('opens orders', 'ok')]] },
      { head: 'Stored', cell: (it) => when(it.stored_at) },
      { head: 'Applied', cell: (it) => when(it.applied_at) },
      { head: 'Open orders', numeric: true, cell: (it) => number(it.open_orders) },
      { head: 'Meaning', cell: (it) => h('code', { title: it.fingerprint }, it.fingerprint.slice(0, 12)) },
      detail.versions.length > 1 && { head: 'Compare', cell: (it) => h('span', { class: 'row' }, link('from', it.version, String(it.version) === from), link('to', it.version, String(it.version) === to)) },
    ].filter(Boolean),
    key: (it) => it.version,
  });
  list.show(detail.versions);
  return card('Versions', list.node, { actions: from && h('a', { href: location.pathname }, 'Stop comparing') });
}

const cardOfText = (it) =>
  card(`Definition, version ${it.shown_version}`, h('pre', { class: 'code', tabindex: '0', role: 'region', 'aria-label': `Text of version ${it.shown_version}` }, it.text), { actions: copy(it.text, 'the definition') });

function cardOfDiff(before, after) {
  const lines = diff(before.text, after.text);
  const differs = lines.some((it) => it.kind !== 'same');
  const marks = { same: ' ', gone: '−', new: '+' };
  const words = { same: null, gone: 'gone: ', new: 'new: ' };
  const name = `Version ${before.shown_version} compared to ${after.shown_version}`;
  const rows = lines.map((it) =>
    h(
      'div',
      { class: `diff-line diff-${it.kind}` },
      h('span', { class: 'diff-number', 'aria-hidden': 'true' }, it.old ?? ''),
      h('span', { class: 'diff-number', 'aria-hidden': 'true' }, it.now ?? ''),
      h('span', { class: 'diff-mark', 'aria-hidden': 'true' }, marks[it.kind]),
      h('span', { class: 'diff-text' }, words[it.kind] && h('span', { class: 'hidden' }, words[it.kind]), it.text || ' '),
    ),
  );
  return card(name, differs ? h('div', { class: 'diff', tabindex: '0', role: 'region', 'aria-label': name }, rows) : empty('The texts are the same', 'Both versions say the same, letter for letter.'));
}

// ---- actions --------------------------------------------------------------------------------------------------------------------

function switchMode(saga, mode) {
  const text =
    mode === 'observe'
      ? 'Escrow goes on following every order, alerts and tells, and asks nothing of the services any more. What was decided before stays decided.'
      : 'From now on Escrow retries and asks for compensations by itself. Orders whose retries were held back stay stuck until somebody releases them.';
  return ask({
    title: mode === 'observe' ? `Only observe ${saga}` : `Let Escrow act for ${saga}`,
    text: h('p', {}, text),
    fields: [why(), who()],
    confirm: mode === 'observe' ? 'Only observe' : 'Act',
    danger: mode === 'act',
    submit: ({ reason }) => put(at(saga, '/mode'), { mode, reason }),
  });
}

function resetBrake(saga, brake) {
  return ask({
    title: `Reset the brake of ${saga}`,
    text: [
      h('p', {}, brake.latched_at ? ['It holds orders back since ', when(brake.latched_at), ': too many turned back by timeout.'] : 'It is off; a reset lets it count from nothing again.'),
      h('p', { class: 'soft' }, 'Orders it held stay held until they are released or dropped.'),
    ],
    fields: [why('What was the cause, and is it gone? It goes into the journal.'), who()],
    confirm: 'Reset',
    submit: ({ reason }) => post(at(saga, '/brake/reset'), { reason }),
  });
}

// ---- coverage -------------------------------------------------------------------------------------------------------------------

// Which of the events that pass are named, and which of the named ever pass. Read when it is opened.
function coverage(saga, context) {
  const place = h('div', {});
  const read = async () => {
    fill(place, loading('what was seen'));
    try {
      fill(place, covered(await get(at(saga, '/events'), {}, context.signal)));
    } catch (error) {
      if (context.signal.aborted) return;
      if (error.status === 404 || error.status === 405) fill(place, empty('This Escrow does not count events yet', 'escrow peek shows what is on an exchange meanwhile.'));
      else fill(place, problem(error, read));
    }
  };
  const details = h('details', { on: { toggle: (event) => event.target.open && read() } }, h('summary', {}, 'Show which events were seen'), place);
  return card('Coverage', h('div', { class: 'stack' }, h('p', { class: 'hint' }, 'Every event that passed, those the definition names and that never came, and those it does not name.'), details));
}

function covered(answer) {
  const list = table({
    caption: 'Events',
    columns: [
      { head: 'Event', class: 'break', cell: (it) => it.event ?? it.name },
      { head: 'Seen', numeric: true, cell: (it) => number(it.seen ?? 0) },
      { head: 'Last', cell: (it) => when(it.last_at) },
      { head: 'Used by', class: 'break', cell: (it) => [it.used_by ?? []].flat().join(', ') || tag('nobody', 'warn') },
      { head: 'State', cell: (it) => ((it.seen ?? 0) === 0 ? tag('named, never seen', 'bad') : ([it.used_by ?? []].flat().length === 0 ? tag('seen, not named', 'warn') : tag('seen', 'ok'))) },
    ],
    key: (it) => it.event ?? it.name,
    empty: () => empty('Nothing was seen yet', 'Counting begins with the first event on a watched exchange.'),
  });
  list.show(answer.events ?? []);
  return list.node;
}
