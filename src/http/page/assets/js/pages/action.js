// One bulk action: how far it is, what became of each order, and the button that stops it.

import { ACTIONS } from '../act.js';
import { get, isAbort, post, search } from '../api.js';
import { ask, who, why } from '../dialog.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { card, empty, facts, loading, number, orderLink, plural, problem, status, word } from '../show.js';
import { table } from '../table.js';
import { duration, when } from '../time.js';
import { named, others } from './actions.js';

export const title = 'Bulk action';

const OUTCOMES = ['', 'done', 'refused', 'gone'];

export function render(context) {
  const { id } = context.params;
  const path = `/v1/actions/${encodeURIComponent(id)}`;
  const lead = h('p', { class: 'lead', role: 'status', 'aria-live': 'polite' });
  const stopping = h('div', { class: 'page-actions' });
  const progress = h('div', {}, loading('the action'));
  const choice = h('div', { class: 'chip-row', role: 'group', 'aria-label': 'What became of the orders' });
  const paging = h('div', { class: 'paging' });
  const results = table({
    caption: 'What became of each order, the oldest order first',
    key: (it) => `${it.saga}/${it.order_id}`,
    columns: [
      { head: 'Order', cell: (it) => orderLink(it.saga, it.order_id) },
      { head: 'Saga', cell: (it) => it.saga },
      { head: 'Outcome', cell: (it) => (it.outcome ? status(it.outcome) : status('pending', 'its turn has not come')) },
      { head: 'Entry', numeric: true, cell: (it) => (it.sequence === null ? '' : `#${it.sequence}`) },
      { head: 'What stood against it', class: 'break', cell: (it) => it.detail ?? '' },
      { head: 'When', cell: (it) => (it.at ? when(it.at) : '') },
    ],
    empty: () => empty('None', 'Of no order became this so far.'),
  });
  const besides = others(context, id);
  const node = h(
    'div',
    { class: 'page' },
    h('div', { class: 'page-head' }, h('h1', {}, 'Bulk action'), lead, stopping),
    card('Progress', progress, { id: 'progress' }),
    card('Orders', [choice, results.node, paging], { id: 'results' }),
    besides.node,
  );

  let query = context.query;
  let running = true;
  let tells = '';

  const read = async () => {
    try {
      const answer = await get(path, { outcome: query.get('outcome'), cursor: query.get('cursor'), limit: 50 }, context.signal);
      running = answer.status === 'running';
      draw(answer);
    } catch (error) {
      if (isAbort(error)) return;
      running = error.status === 0;
      fill(progress, problem(error, read));
    }
  };

  const draw = (it) => {
    const verb = ACTIONS[it.action]?.verb ?? it.action;
    context.name(`${verb} ${plural(it.total, 'order')}`);
    fill(node.querySelector('h1'), `${verb} ${plural(it.total, 'order')}`);
    const text = `${word(it.status)}: ${number(it.done)} done, ${number(it.refused)} refused, ${number(it.gone)} gone, ${number(it.left)} left`;
    // Said aloud in steps, not once a second.
    const step = `${it.status} ${Math.floor((10 * (it.total - it.left)) / Math.max(1, it.total))}`;
    if (step !== tells) {
      tells = step;
      fill(lead, text);
    }
    fill(stopping, running && h('button', { type: 'button', class: 'primary danger', on: { click: stop } }, 'Stop …'));
    fill(progress, drawProgress(it));
    results.show(it.results);
    fill(
      paging,
      query.get('cursor') && h('a', { class: 'button', href: `/actions/${id}${search({ outcome: query.get('outcome') })}` }, 'First'),
      it.next_cursor && h('a', { class: 'button', href: `/actions/${id}${search({ outcome: query.get('outcome'), cursor: it.next_cursor })}` }, 'Next'),
    );
  };

  const drawChoice = () => {
    const chosen = query.get('outcome') ?? '';
    fill(
      choice,
      OUTCOMES.map((it) => h('a', { class: ['chip-toggle', it === chosen && 'on'], href: `/actions/${id}${search({ outcome: it })}`, 'aria-current': it === chosen ? 'true' : undefined }, it === '' ? 'all' : status(it))),
    );
  };

  const stop = async () => {
    const answer = await ask({
      title: 'Stop this action?',
      text: h('p', {}, 'It ends after the order in hand. What was done stays done.'),
      fields: [why('Kept with the action.'), who()],
      confirm: 'Stop',
      danger: true,
      submit: (values) => post(`${path}/stop`, { reason: values.reason }),
    });
    if (answer) read();
  };

  drawChoice();
  read();
  const ends = [live.every(1, () => running && read()), besides.stop];
  return {
    node,
    changed(next) {
      query = next.query;
      drawChoice();
      read();
    },
    stop: () => ends.forEach((end) => end()),
  };
}

function drawProgress(it) {
  const share = (count, name) => count > 0 && h('span', { class: `tone-${name}`, vars: { '--share': count } });
  const left = it.left / it.per_second;
  return [
    h(
      'div',
      { class: 'progress', role: 'progressbar', 'aria-label': 'Orders acted on', 'aria-valuemin': 0, 'aria-valuemax': it.total, 'aria-valuenow': it.total - it.left, 'aria-valuetext': `${it.total - it.left} of ${it.total}` },
      share(it.done, 'ok'),
      share(it.refused, 'bad'),
      share(it.gone, 'calm'),
      it.left > 0 && h('span', { class: 'left', vars: { '--share': it.left } }),
    ),
    h('p', { class: 'row progress-words' }, status(it.status === 'done' ? 'done' : it.status === 'stopped' ? 'stopped' : 'running'), h('span', {}, `${number(it.total - it.left)} of ${number(it.total)}`), status('done', `${number(it.done)} done`), status('refused', `${number(it.refused)} refused`), status('gone', `${number(it.gone)} gone`), it.status === 'running' && h('span', { class: 'soft' }, `about ${duration(Math.max(1, left))} to go`)),
    facts([
      ['Asked by', it.actor],
      ['Reason', it.reason],
      ['Which orders', it.named === null ? h('a', { href: `/orders${search(it.filter)}` }, named(it)) : named(it)],
      it.step && ['Step', h('span', { class: 'mono' }, it.step)],
      it.by && ['By', it.by],
      ['Rate', `${it.per_second} a second`],
      ['Begun', when(it.created_at)],
      it.ended_at && ['Ended', when(it.ended_at)],
      it.stopped_by && ['Stopped by', [it.stopped_by, it.stopped_reason && `: ${it.stopped_reason}`]],
    ]),
  ];
}
