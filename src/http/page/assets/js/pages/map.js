// Map: one saga as it is defined, with what happens on it now.
//
//   GET /v1/sagas/{saga}?version=           the steps and what they come after     ─▶ graph.js says where they stand
//   GET /v1/sagas/{saga}/stats?window=&version=    waiting and stuck now, how long, how often in vain
//
// Numbers are links to the orders behind them. The same figures stand in a table below, for everybody. The address holds the choice of
// saga, version and window.

import { get, search } from '../api.js';
import { fill, h, svg } from '../dom.js';
import { layout } from '../graph.js';
import * as live from '../live.js';
import { ORDER_STATUSES, card, empty, loading, number, ordersLink, problem, status, tag, word } from '../show.js';
import { table } from '../table.js';
import { duration, when } from '../time.js';

export const title = (context) => (context.params.saga ? `Map of ${context.params.saga}` : 'Map');

const WINDOWS = [['', 'last 7 days'], ['24h', 'last 24 hours'], ['1h', 'last hour'], ['10m', 'last 10 minutes']];
const WIDE = { box: { width: 180, height: 92 }, gap: { along: 148, across: 26, trunk: 100, first: 106 }, upright: false };
const UPRIGHT = { box: { width: 144, height: 92 }, gap: { along: 84, across: 8, trunk: 46, first: 50 }, upright: true };
const LABEL = { wide: { width: 92, height: 68 }, upright: { width: 92, height: 46 } };
// Narrower than this, layers go below each other.
const NARROW = 720;

export function render(context) {
  const head = h('div', { class: 'page-head' }, h('h1', {}, 'Map'));
  const body = h('div', { class: 'page' }, loading('the saga'));
  const node = h('div', { class: 'page' }, head, body);
  const page = context.params.saga ? show(context, head, body) : choose(context, body);
  return { node, stop: () => page.stop?.(), changed: page.changed };
}

// Without a name in the address the only saga is shown; of several one is chosen.
function choose(context, body) {
  const read = async () => {
    try {
      const { sagas } = await get('/v1/sagas', { limit: 500 }, context.signal);
      if (sagas.length === 1) return context.go(`/map/${encodeURIComponent(sagas[0].saga)}`, { replace: true });
      const none = () =>
        empty('No saga is followed yet', 'Write a definition and start Escrow with it: escrow serve --sagas FOLDER. It is then drawn here.');
      const list = table({
        caption: 'Sagas',
        columns: [
          { head: 'Saga', cell: (it) => h('a', { href: `/map/${encodeURIComponent(it.saga)}` }, it.saga) },
          { head: 'Steps', cell: (it) => it.steps.join(', '), class: 'break' },
          { head: 'Stuck', numeric: true, cell: (it) => number(it.orders.stuck ?? 0) },
        ],
        key: (it) => it.saga,
        empty: none,
      });
      fill(body, card('Choose a saga', list.node));
      list.show(sagas);
    } catch (error) {
      if (!context.signal.aborted) fill(body, problem(error, read));
    }
  };
  read();
  return {};
}

function show(context, head, body) {
  const saga = context.params.saga;
  const at = (path = '') => `/v1/sagas/${encodeURIComponent(saga)}${path}`;
  let query = context.query;
  let detail = null;
  let stats = null;
  let isUpright = null;
  let isReading = false;

  const picture = h('div', { class: 'map', tabindex: '0', role: 'region', 'aria-label': `Graph of saga ${saga}; the table below says the same` });
  const list = table({ caption: `Steps of saga ${saga}`, columns: columns(saga), key: (it) => it.step });
  const totals = h('p', { class: 'row map-totals' });
  const controls = h('div', { class: 'page-actions' });

  const draw = () => {
    if (!detail || !stats) return;
    const rows = detail.definition.map((step) => ({ ...step, ...stats.steps.find((it) => it.step === step.step) }));
    fill(totals, ...counts(saga, stats.orders));
    const focused = document.activeElement?.closest?.('.map a')?.getAttribute('href');
    fill(picture, graph(saga, rows, isUpright, context));
    if (focused) picture.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    list.show(rows);
  };

  const settle = () => {
    const upright = picture.clientWidth > 0 ? picture.clientWidth < NARROW : window.innerWidth < NARROW;
    if (upright === isUpright) return;
    isUpright = upright;
    draw();
  };

  const readAll = async () => {
    const version = query.get('version');
    try {
      [detail, stats] = await Promise.all([
        get(at(), { version }, context.signal),
        get(at('/stats'), { version, window: query.get('window') }, context.signal),
      ]);
      fill(head, h('h1', {}, `Map of ${saga}`), status(detail.sight), controls);
      fill(controls, ...choices(context, detail, query));
      fill(
        body,
        card('What happens on it now', [totals, picture, legend()], { id: 'graph', wide: true }),
        card('The same as a table', [list.node, h('p', { class: 'hint' }, figures(stats))], { id: 'steps', wide: true }),
      );
      settle();
      draw();
    } catch (error) {
      if (!context.signal.aborted) fill(body, problem(error, readAll));
    }
  };

  const readCounts = async () => {
    if (isReading || !detail) return;
    isReading = true;
    try {
      stats = await get(at('/stats'), { version: query.get('version'), window: query.get('window') }, context.signal);
      draw();
    } catch (error) {
      // The shell tells that Escrow does not answer; what was drawn stays.
      if (!context.signal.aborted && error.status !== 0) console.warn(error.message);
    } finally {
      isReading = false;
    }
  };

  const sizes = new ResizeObserver(settle);
  sizes.observe(picture);
  const ends = [live.pulse(readCounts)];
  readAll();
  return {
    changed(next) {
      query = next.query;
      readAll();
    },
    stop() {
      sizes.disconnect();
      ends.forEach((end) => end());
    },
  };
}

function choices(context, detail, query) {
  const to = (name, value) => {
    const next = new URLSearchParams(query);
    if (value === '') next.delete(name);
    else next.set(name, value);
    context.go(`${context.path}${search(next)}`, { replace: true });
  };
  const pick = (id, label, options, chosen, act) => {
    const select = h(
      'select',
      { id, on: { change: (event) => act(event.target.value) } },
      options.map(([value, text]) => h('option', { value, selected: value === chosen }, text)),
    );
    return h('span', { class: 'row' }, h('label', { for: id, class: 'soft small' }, label), select);
  };
  const versions = detail.versions.map((it) => [String(it.version), `${it.version}${it.version === detail.version ? ' (opens orders)' : ''}`]);
  return [
    pick('map-version', 'Version', versions, String(detail.shown_version), (it) => to('version', it === String(detail.version) ? '' : it)),
    pick('map-window', 'Times of the', WINDOWS, query.get('window') ?? '', (it) => to('window', it)),
    h('a', { href: '/map' }, 'Other sagas'),
  ];
}

function counts(saga, orders) {
  const shown = ORDER_STATUSES.filter((it) => orders[it]);
  if (shown.length === 0) return [h('span', { class: 'soft' }, 'No order has come yet: the figures appear with the first event.')];
  return shown.map((it) => ordersLink({ saga, status: it }, [status(it), ' ', number(orders[it])], { class: 'map-total' }));
}

const legend = () =>
  h(
    'p',
    { class: 'hint' },
    'On each line: how long half of the steps took, and 95 of 100; below, how many of those that ended got no answer in time. ',
    'Dashed: expected only once its trigger was seen.',
  );

function figures(stats) {
  const parts = [`Durations of version ${stats.version} over ${stats.window}, from 30 measured steps on; only steps that went as usual are measured.`];
  if (stats.as_of) parts.push(' True as of ', when(stats.as_of), '.');
  return parts;
}

// ---- the picture ----------------------------------------------------------------------------------------------------------------

function graph(saga, rows, isUpright, context) {
  const shape = isUpright ? UPRIGHT : WIDE;
  const label = isUpright ? LABEL.upright : LABEL.wide;
  const names = new Map(rows.map((it) => [it.step, it]));
  const { width, height, boxes, lines } = layout(rows.map((it) => ({ name: it.step, after: it.after })), shape);
  // Room for outlines, and for figures that reach beyond the last box.
  const margin = 4;
  let right = width;
  const parts = [arrow()];
  for (const line of lines) parts.push(svg('path', { d: line.path, class: 'map-line' }));
  for (const box of boxes) {
    const { from, to } = box.trunk;
    const step = names.get(box.name);
    const isConditional = step.when.length > 0;
    const line = `M${from[0]} ${from[1]} L${to[0]} ${to[1]}`;
    parts.push(svg('path', { d: line, class: isConditional ? 'map-line map-dashed' : 'map-line', 'marker-end': 'url(#map-arrow)' }));
    if (step.after.length === 0) parts.push(svg('circle', { cx: from[0], cy: from[1], r: 4, class: 'map-start' }));
    const x = isUpright ? (from[0] + to[0]) / 2 + 8 : from[0] + 1;
    const y = isUpright ? to[1] - label.height - 3 : from[1] - label.height / 2;
    right = Math.max(right, x + label.width);
    parts.push(foreign(x, y, label.width, label.height, figuresOf(step, isUpright)));
    parts.push(foreign(box.x, box.y, shape.box.width, shape.box.height, boxOf(saga, step)));
  }
  const view = [-margin, -margin, right + 2 * margin, height + 2 * margin];
  return svg('svg', { viewBox: view.join(' '), width: view[2], height: view[3], class: 'map-picture', role: 'group', 'aria-label': `Steps of ${saga}` }, parts);
}

const foreign = (x, y, width, height, child) => svg('foreignObject', { x, y, width, height }, child);

const arrow = () =>
  svg(
    'defs',
    {},
    svg('marker', { id: 'map-arrow', viewBox: '0 0 10 10', refX: 9, refY: 5, markerWidth: 7, markerHeight: 7, orient: 'auto' }, svg('path', { d: 'M0 0L10 5L0 10z', class: 'map-head' })),
  );

function boxOf(saga, step) {
  const events = [...step.done, ...step.failed.map((it) => `or ${it} (failed)`)].join(', ');
  const isBad = step.stuck > 0;
  return h(
    'div',
    { class: ['map-box', isBad ? 'tone-bad' : step.waiting > 0 ? 'tone-info' : 'tone-calm', step.when.length > 0 && 'map-dashed'] },
    h('div', { class: 'map-name' }, step.step),
    h('div', { class: 'map-event', title: events }, step.done.join(', ')),
    h(
      'div',
      { class: 'map-counts' },
      waitingLink(saga, step),
      stuckLink(saga, step),
    ),
  );
}

const waitingLink = (saga, step) =>
  ordersLink({ saga, waiting_on: step.step }, [h('b', {}, number(step.waiting)), ' waiting'], {
    class: step.waiting > 0 ? 'map-count' : 'map-count soft',
    'aria-label': `${number(step.waiting)} waiting on ${step.step}`,
  });

const stuckLink = (saga, step) =>
  ordersLink({ saga, stuck_on: step.step }, [h('b', {}, number(step.stuck)), ' stuck'], {
    class: step.stuck > 0 ? 'map-count map-stuck' : 'map-count soft',
    'aria-label': `${number(step.stuck)} stuck on ${step.step}`,
  });

function figuresOf(step, isUpright) {
  const known = step.p50 !== null && step.p50 !== undefined;
  const isRoot = step.after.length === 0;
  const hint = known ? `Half took ${duration(step.p50)}, 95 of 100 ${duration(step.p95)} at most` : `${step.samples} measured; 30 are needed`;
  const times = known
    ? [h('span', {}, brief(step.p50)), h('span', {}, `p95 ${brief(step.p95)}`)]
    : !isRoot && h('span', { class: 'soft' }, 'too few yet');
  const share = step.closed > 0 && h('span', { class: ['map-share', step.timed_out > 0 && 'tone-warn'], title: vain(step) }, `${percent(step)} timed out`);
  return h('div', { class: ['map-figures', isUpright && 'map-upright'] }, h('div', { class: 'map-times', title: isRoot && !known ? null : hint }, times), h('div', {}, share));
}

const vain = (step) => `${step.timed_out} of ${step.closed} that ended got no answer in time`;

const brief = (seconds) => duration(seconds).replace(' min', 'm').replace(' ms', 'ms').replace(' s', 's').replace(' h', 'h');

function percent(step) {
  const share = (100 * step.timed_out) / step.closed;
  if (share === 0) return '0 %';
  return share < 1 ? '< 1 %' : `${Math.round(share)} %`;
}

// ---- the table ------------------------------------------------------------------------------------------------------------------

function columns(saga) {
  const seconds = (name) => (it) => duration(it[name]);
  return [
    { head: 'Step', cell: (it) => [h('strong', {}, it.step), it.when.length > 0 && [' ', tag(`once ${it.when.join(' or ')}`)]] },
    { head: 'After', cell: (it) => it.after.join(', ') || (it.when.length > 0 ? 'its trigger' : 'the beginning') },
    { head: 'Awaits', cell: (it) => it.done.join(' or ') },
    { head: 'Waiting', numeric: true, cell: (it) => waitingLink(saga, it) },
    { head: 'Stuck', numeric: true, cell: (it) => stuckLink(saga, it) },
    { head: 'p50', numeric: true, cell: seconds('p50') },
    { head: 'p95', numeric: true, cell: seconds('p95') },
    { head: 'p99', numeric: true, cell: seconds('p99') },
    { head: 'Timed out', numeric: true, cell: (it) => (it.closed > 0 ? h('span', { title: vain(it) }, `${percent(it)} of ${number(it.closed)}`) : '—') },
    { head: 'Allowed', cell: (it) => it.within ?? 'no deadline' },
    { head: 'Then', cell: (it) => [it.retries > 0 && `${it.retries} ${it.retries === 1 ? 'retry' : 'retries'}, `, word(it.on_timeout)] },
    { head: 'Undone by', cell: (it) => it.compensation ?? '—' },
  ];
}
