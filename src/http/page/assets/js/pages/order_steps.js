// The steps of an order over time, drawn and as a table.
//
//   ├──── waited ────┤           a bar from when a step opened to when it closed (or now)
//   ░░░░░░┊░░░░░               the ghost: how long it usually takes, half and 95 of 100
//            ▏deadline          a tick; red once it has passed without the event
//                  ▨▨▨▨        undoing it
//
// Widths are in pixels, redrawn when the place changes its width. The table below says the same in words.

import { fill, h, svg } from '../dom.js';
import { status, tag, word } from '../show.js';
import { duration, exact, now, when } from '../time.js';

const ROW = 28;
const BAR = 12;
const LABEL = 132;
const TONES = { done: 'ok', waiting: 'info', failed: 'bad', timed_out: 'bad', compensating: 'ok', compensated: 'ok', compensation_failed: 'ok', skipped: 'calm', pending: 'calm' };

export function drawSteps(place, order, { stats, detail, entries }) {
  const usual = new Map((stats?.steps ?? []).filter(() => stats.version === order.version).map((it) => [it.step, it]));
  const undone = undoings(entries);
  const limits = new Map((detail?.definition ?? []).filter(() => detail.version === order.version).map((it) => [it.step, span(it.within)]));
  let chart = place.firstChild;
  if (!chart) {
    chart = h('div', { class: 'gantt' });
    fill(place, chart, legend(), h('div', {}));
  }
  const width = Math.max(240, place.clientWidth);
  fill(chart, picture(order, { usual, undone, limits, entries }, width));
  // The table changes with the order only: redrawing it each second would take the reader's selection away.
  const key = JSON.stringify([order.sequence, usual.size, undone.size, limits.size, entries.length]);
  const twin = place.lastChild;
  if (twin.dataset.key !== key) {
    twin.dataset.key = key;
    fill(twin, asTable(order, usual, undone, limits));
  }
}

function legend() {
  const mark = (kind, text) => h('span', { class: `mark mark-${kind}` }, text);
  return h('div', { class: 'legend small soft', 'aria-hidden': 'true' }, mark('usual', 'usually (95 of 100)'), mark('deadline', 'deadline'), mark('retry', 'sent again'), mark('undo', 'undoing'));
}

// step → { from, to, failed }: when its undoing was asked for and when it was over.
function undoings(entries) {
  const found = new Map();
  for (const entry of entries) {
    if (entry.kind === 'compensation' && !found.has(entry.step)) found.set(entry.step, { from: Date.parse(entry.at), to: null, failed: false });
    for (const change of entry.changes) {
      if (change.to === 'compensating' && !found.has(change.step)) found.set(change.step, { from: Date.parse(entry.at), to: null, failed: false });
      const it = found.get(change.step);
      if (it && (change.to === 'compensated' || change.to === 'compensation_failed')) Object.assign(it, { to: Date.parse(entry.at), failed: change.to !== 'compensated' });
    }
  }
  return found;
}

// '1m30s' → milliseconds; null for an expression, whose value the order does not tell once the step is closed.
function span(text) {
  const units = { d: 864e5, h: 36e5, m: 6e4, s: 1e3, ms: 1 };
  if (!/^(\d+(d|h|ms|m|s))+$/.test(text ?? '')) return null;
  return [...text.matchAll(/(\d+)(d|h|ms|m|s)/g)].reduce((sum, [, count, unit]) => sum + Number(count) * units[unit], 0);
}

// A closed step has no deadline any more; its first one follows from the definition.
function deadlineOf(step, limit) {
  if (step.deadline && (step.status === 'waiting' || step.status === 'compensating')) return time(step.deadline);
  return step.opened_at && limit ? time(step.opened_at) + limit : null;
}

const time = (iso) => (iso ? Date.parse(iso) : null);

function picture(order, { usual, undone, limits, entries }, width) {
  const end = time(order.ended_at) ?? now();
  const begin = time(order.created_at);
  const marks = order.steps.flatMap((it) => [time(it.opened_at), time(it.closed_at)]).filter(Boolean);
  const last = Math.max(end, ...marks);
  // Deadlines far ahead would press everything else into a line: those shown are at most as far again.
  const open = order.steps.filter((it) => it.status === 'waiting' || it.status === 'compensating').map((it) => time(it.deadline)).filter(Boolean);
  const near = open.filter((it) => it - begin < 4 * Math.max(1000, last - begin));
  const from = Math.min(begin, ...marks);
  const length = Math.max(200, Math.max(last, ...near) - from) * 1.04;
  const room = width - LABEL - 8;
  const x = (at) => LABEL + ((at - from) / length) * room;
  const height = order.steps.length * ROW;
  const ticks = axis(length, Math.max(2, Math.min(6, Math.floor(room / 80))));
  return svg(
    'svg',
    { width, height: height + 22, viewBox: `0 0 ${width} ${height + 22}`, 'aria-hidden': 'true', class: 'gantt-picture' },
    svg('defs', {}, svg('pattern', { id: 'undo', width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' }, svg('rect', { width: 6, height: 6, class: 'undo-ground' }), svg('rect', { width: 2.5, height: 6, class: 'undo-line' }))),
    ticks.map((at) => [
      svg('line', { x1: x(from + at), x2: x(from + at), y1: 0, y2: height, class: 'grid' }),
      svg('text', { x: x(from + at), y: height + 16, class: 'axis-text', 'text-anchor': at === 0 ? 'start' : 'middle' }, at === 0 ? exact(order.created_at, false) : `+${duration(at / 1000)}`),
    ]),
    order.steps.map((step, at) => svg('g', { transform: `translate(0 ${at * ROW})` }, row(step, x, { usual: usual.get(step.step), undo: undone.get(step.step), limit: limits.get(step.step), end, entries, width }))),
    !order.ended_at && svg('line', { x1: x(now()), x2: x(now()), y1: 0, y2: height, class: 'now-line' }),
  );
}

function row(step, x, { usual, undo, limit, end, entries, width }) {
  const middle = ROW / 2;
  const [opened, closed] = [time(step.opened_at), time(step.closed_at)];
  const deadline = deadlineOf(step, limit);
  const from = opened ?? closed;
  const to = closed ?? (step.status === 'waiting' ? end : from);
  const bar = from !== null && svg('rect', { x: x(Math.min(from, to)), y: middle - BAR / 2, width: Math.max(3, x(Math.max(from, to)) - x(Math.min(from, to))), height: BAR, rx: 2, class: `bar tone-${toneOf(step)} bar-${step.status}` });
  const ghost = from !== null && usual?.p95 && [
    svg('rect', { x: x(from), y: middle - BAR / 2 - 3, width: Math.max(2, Math.min(x(from + usual.p95 * 1000), width) - x(from)), height: BAR + 6, rx: 3, class: 'ghost' }),
    x(from + usual.p50 * 1000) < width && svg('line', { x1: x(from + usual.p50 * 1000), x2: x(from + usual.p50 * 1000), y1: middle - BAR / 2 - 3, y2: middle + BAR / 2 + 3, class: 'ghost-half' }),
  ];
  const passed = deadline !== null && deadline < (step.event ? closed : end);
  const mark = deadline !== null && x(deadline) <= width && svg('path', { d: `M${x(deadline)} ${middle - 11}v22m-4 -22h8`, class: ['deadline', passed && 'passed'] });
  const back = undo && svg('rect', { x: x(undo.from), y: middle - BAR / 2, width: Math.max(4, x(undo.to ?? end) - x(undo.from)), height: BAR, rx: 2, fill: 'url(#undo)', class: ['undo', undo.failed && 'undo-failed'] });
  const retries = entries.filter((it) => it.step === step.step && (it.kind === 'retry' || it.kind === 'withheld')).map((it) => svg('path', { d: `M${x(Date.parse(it.at))} ${middle - 6}l4 6l-4 6l-4 -6z`, class: `retry retry-${it.kind}` }));
  const textAt = Math.max(from === null ? x(0) : x(to), undo ? x(undo.to ?? end) : 0, mark && !closed ? x(deadline) : 0) + 8;
  const words = from === null ? '' : duration(Math.max(0, (to - from) / 1000));
  const fits = textAt + 60 < width;
  return [
    svg('text', { x: 0, y: middle + 4, class: 'step-text' }, shorten(step.step)),
    from === null && svg('text', { x: LABEL, y: middle + 4, class: 'axis-text' }, word(step.status)),
    ghost,
    bar,
    back,
    mark,
    retries,
    from !== null && fits && svg('text', { x: textAt, y: middle + 4, class: 'axis-text' }, words),
  ];
}

// What is undone without ever having been seen had timed out.
const toneOf = (step) => (step.status.startsWith('compensat') && !step.event ? 'bad' : TONES[step.status] ?? 'calm');

const shorten = (name) => (name.length > 17 ? `${name.slice(0, 16)}…` : name);

// Round distances, at most `most` of them.
function axis(length, most) {
  const steps = [100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 144e5, 288e5, 864e5, 1728e5, 6048e5, 2592e6, 31536e6];
  const step = steps.find((it) => length / it <= most) ?? length;
  return Array.from({ length: Math.floor(length / step) + 1 }, (_, at) => at * step).filter((at) => at < length * 0.97);
}

function asTable(order, usual, undone, limits) {
  const heads = ['Step', 'Status', 'Event', 'Opened', 'Closed', 'Took', 'Usually', 'Deadline', 'Notes'];
  const rows = order.steps.map((it) => {
    const known = usual.get(it.step);
    const deadline = deadlineOf(it, limits.get(it.step));
    const took = it.opened_at && it.closed_at ? Math.max(0, (time(it.closed_at) - time(it.opened_at)) / 1000) : null;
    const cells = [
      h('span', { class: 'mono' }, it.step),
      status(it.status),
      it.failure ? [h('span', { class: 'mono' }, it.failure)] : it.event ? h('span', { class: 'mono' }, it.event) : '',
      it.opened_at ? when(it.opened_at) : '',
      it.closed_at ? when(it.closed_at) : '',
      took === null ? '' : duration(took),
      known?.p50 ? h('span', { title: 'half within, 95 of 100 within' }, `${duration(known.p50)} / ${duration(known.p95)}`) : '',
      deadline === null ? '' : when(new Date(deadline).toISOString()),
      notes(it, undone.get(it.step)),
    ];
    return h('tr', {}, cells.map((cell, at) => h('td', { data: { label: heads[at] }, class: at >= 3 && at <= 7 ? 'keep' : undefined }, cell)));
  });
  return h(
    'div',
    { class: 'table steps-table' },
    h('table', { class: 'rows' }, h('caption', { class: 'hidden' }, 'The steps of this order'), h('thead', {}, h('tr', {}, heads.map((it) => h('th', { scope: 'col' }, it)))), h('tbody', {}, rows)),
  );
}

function notes(it, undo) {
  const said = [
    it.attempts > 0 && `retried ${it.attempts === 1 ? 'once' : `${it.attempts} times`}`,
    it.skipped && `skipped by ${it.skipped === 'person' ? 'a person' : it.skipped}`,
    it.expected !== null && `${it.counted} of ${it.expected} seen`,
    it.compensation && `undoing: round ${it.compensation.round}, sent ${it.compensation.attempts === 1 ? 'once' : `${it.compensation.attempts} times`}${it.compensation.confirmed_at ? ', routed' : ''}`,
    undo?.to && `undone in ${duration((undo.to - undo.from) / 1000)}`,
  ].filter(Boolean);
  return [['late', it.late], ['early', it.early], ['inferred', it.inferred]].filter(([, on]) => on).map(([text]) => [tag(text, 'warn'), ' ']).concat(h('span', { class: 'small soft' }, said.join('; ')));
}
