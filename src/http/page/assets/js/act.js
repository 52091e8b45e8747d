// What a person can do about orders: which actions fit, and the questions asked before one is sent.
//
//   fitting(order, saga)            the actions that fit where the order stands: [{ action, steps, whole }]; saga: its detail, for retries
//   act(order, choice, done)        asks for a reason and does it; done(answer) afterwards
//   actOnMany(filter, total)        asks, previews, and begins an action on all a filter names; gives its id, or null
//   actOnThese(orders, filter)      the same on the orders ticked on a page, while the list's filter names them
//
// Escrow decides whether an action fits: this only keeps from the screen what plainly does not. What Escrow says against one (409) is
// shown in the dialog, in its words.

import { newKey, orderPath, pages, post } from './api.js';
import { ask, who, why } from './dialog.js';
import { h } from './dom.js';
import { number, orderLink, plural, problem, prose, status } from './show.js';

export const ACTIONS = {
  retry: { verb: 'Retry', text: 'The message that opened the step is sent again and the step waits anew; a stuck compensation is asked for again.' },
  skip: { verb: 'Skip', text: 'The step is not expected any more and the order goes on without it; nothing is sent.' },
  extend: { verb: 'Extend', text: 'The deadline moves; nothing is sent.' },
  compensate: { verb: 'Compensate', text: 'The order turns back: what has happened is undone, in reverse order.' },
  release: { verb: 'Release', text: 'What was held back is decided anew. You vouch for it: Escrow then acts although it was in doubt.' },
  drop: { verb: 'Drop', text: 'What was held back is left undone; the order stays stuck until somebody deals with it.' },
  close: { verb: 'Close', text: 'The order ends here. All its deadlines are disarmed, nothing is sent. It cannot be opened again.', danger: true },
  note: { verb: 'Note', text: 'A line in the audit trail; nothing else changes.' },
};

const ENDED = ['completed', 'compensated', 'cancelled', 'failed', 'closed'];
const WITHHELD = ['held', 'unproven', 'observe'];

export const hasEnded = (order) => ENDED.includes(order.status);

export function fitting(order, saga) {
  if (hasEnded(order)) return [{ action: 'note', steps: [], whole: true }];
  const steps = (test) => order.steps.filter(test).map((it) => it.step);
  const is = (...words) => (step) => words.includes(step.status);
  const turned = order.status === 'compensating' || order.steps.some(is('compensating', 'compensated', 'compensation_failed'));
  const retries = (step) => (saga?.definition.find((it) => it.step === step.step)?.retries ?? 1) > 0;
  const template = order.stuck?.reason === 'template_failed' ? order.stuck.step : null;
  const found = [
    { action: 'retry', steps: steps((it) => it.step === template || is('compensation_failed')(it) || (!turned && is('timed_out', 'failed')(it) && retries(it))) },
    { action: 'skip', steps: steps((it) => it.step === template || is('waiting', 'compensating', 'compensation_failed')(it) || (!turned && is('timed_out', 'failed')(it))) },
    { action: 'extend', steps: steps((it) => (is('waiting', 'compensating')(it) && it.deadline) || (!turned && is('timed_out')(it)) || (is('compensation_failed')(it) && order.stuck?.reason === 'compensation_overdue')), whole: true },
    { action: 'compensate', steps: [], whole: !turned },
    { action: 'release', steps: [], whole: WITHHELD.includes(order.stuck?.reason) },
    { action: 'drop', steps: [], whole: !turned && WITHHELD.includes(order.stuck?.reason) },
    { action: 'close', steps: [], whole: true },
    { action: 'note', steps: [], whole: true },
  ];
  const isStuck = order.status === 'stuck';
  // Extending the whole order is offered where no step can be: else it only confuses.
  return found
    .map((it) => (it.action === 'extend' && it.steps.length > 0 ? { ...it, whole: !isStuck } : it))
    .filter((it) => it.steps.length > 0 || it.whole);
}

const stepField = (choice) => {
  const options = [...(choice.whole ? [{ value: '', text: 'the whole order' }] : []), ...choice.steps.map((it) => ({ value: it, text: it }))];
  return { name: 'step', label: 'Step', type: 'select', options };
};

const byField = { name: 'by', label: 'By how much', value: '30m', required: true, hint: 'Like 10m, 2h or 1d.' };

export async function act(order, choice, done) {
  const { verb, text, danger } = ACTIONS[choice.action];
  const key = newKey();
  const fields = [
    choice.steps.length > 0 && stepField(choice),
    choice.action === 'extend' && byField,
    why(),
    who(),
  ].filter(Boolean);
  const answer = await ask({
    title: `${verb} order ${order.order_id}`,
    text: h('p', {}, text),
    fields,
    confirm: verb,
    danger,
    submit: (values) => post(`/v1${orderPath(order.saga, order.order_id)}/actions`, body(choice.action, values), { key }),
  });
  if (answer) done(answer);
}

function body(action, values) {
  return {
    action,
    reason: values.reason,
    ...(values.step ? { step: values.step } : {}),
    ...(action === 'extend' ? { by: values.by } : {}),
  };
}

// ---- many orders -----------------------------------------------------------------------------------------------------------------

async function steps(saga, signal) {
  const sagas = await pages('/v1/sagas', {}, 'sagas', 1000, signal);
  const wanted = saga ? saga.split(',') : sagas.map((it) => it.saga);
  return [...new Set(sagas.filter((it) => wanted.includes(it.saga)).flatMap((it) => it.steps))];
}

const rate = { name: 'per_second', label: 'Orders a second', type: 'number', value: '10', min: '0.01', max: '100', step: 'any', required: true, hint: 'A service that just came back is not run over at 10; at most 100.' };

async function choose(title, what, known) {
  const options = Object.entries(ACTIONS).map(([value, it]) => ({ value, text: it.verb }));
  return ask({
    title,
    text: [what, h('p', { class: 'hint' }, 'Where it does not fit an order, that order is left as it is and the result says why.')],
    fields: [
      { name: 'action', label: 'Action', type: 'select', options },
      { name: 'step', label: 'Step', type: 'select', options: [{ value: '', text: 'the one that needs a person' }, ...known], hint: 'For retry, skip and extend.' },
      { ...byField, required: false, hint: 'For extend: like 10m, 2h or 1d.' },
      rate,
      why(),
      who(),
    ],
    confirm: 'Preview',
    submit: async (values) => values,
  });
}

export async function actOnMany(filter, total) {
  const known = await steps(filter.saga);
  const what = h('p', {}, `All orders that match the filter now${total === undefined ? '' : `, about ${number(total)}`}. The list is taken when you begin: orders that come later are not touched.`);
  return begin(filter, await choose('Act on all that match', what, known));
}

// An order that the list's filter names no more when its turn comes is left alone: it was ticked for what it was.
export async function actOnThese(orders, filter) {
  const known = [...new Set(orders.flatMap((it) => it.steps.map((step) => step.step)))];
  const isFiltered = Object.keys(filter).some((it) => it !== 'order_id');
  const what = h('p', {}, `The ${plural(orders.length, 'order')} ticked on this page, and no other.${isFiltered ? ' One that does not match the filter of the list any more is left alone.' : ''}`);
  const named = { ...filter, order_ids: orders.map((it) => ({ saga: it.saga, order_id: it.order_id })) };
  delete named.order_id;
  return begin(named, await choose('Act on the ticked orders', what, known), orders.length);
}

async function begin(filter, values, ticked) {
  if (!values) return null;
  const request = { filter, ...body(values.action, values), per_second: Number(values.per_second) };
  const key = newKey();
  let preview;
  try {
    preview = await post('/v1/actions', { ...request, dry_run: true });
  } catch (error) {
    await ask({ title: 'It cannot begin', text: problem(error), confirm: 'Close', submit: async () => true });
    return null;
  }
  if (preview.count === 0) {
    await ask({ title: 'Nothing matches any more', text: h('p', {}, 'No order matches the filter now, so there is nothing to do.'), confirm: 'Close', submit: async () => true });
    return null;
  }
  const fewer = ticked !== undefined && preview.count < ticked && `${plural(ticked - preview.count, 'ticked order')} matched the filter and ${ticked - preview.count === 1 ? 'does' : 'do'} not any more.`;
  const answer = await ask({
    title: `${ACTIONS[values.action].verb} ${plural(preview.count, 'order')}`,
    wide: true,
    text: [
      h('p', {}, ACTIONS[values.action].text),
      fewer && h('p', {}, fewer),
      h('p', {}, `At ${values.per_second} a second this takes about ${minutes(preview.count / Number(values.per_second))}. You can stop it at any time; what was done stays.`),
      h('p', { class: 'soft' }, `Reason: ${values.reason}`),
      samples(preview.samples, preview.count),
    ],
    // Whoever ticked them has counted them already.
    fields: ticked === undefined ? [{ name: 'typed', label: `Type ${preview.count} to confirm`, required: true, must: String(preview.count) }] : [],
    confirm: 'Begin',
    danger: true,
    submit: () => post('/v1/actions', request, { key }),
  });
  return answer?.id ?? null;
}

const minutes = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} seconds` : `${Math.round(seconds / 60)} minutes`);

function samples(list, count) {
  return h(
    'div',
    { class: 'samples', tabindex: '0', role: 'region', 'aria-label': 'Some of the orders' },
    h('p', { class: 'small soft' }, count > list.length ? `The newest ${list.length} of them:` : 'They are:'),
    h('ul', {}, list.map((it) => h('li', {}, h('span', { class: 'row' }, orderLink(it.saga, it.order_id), status(it.status)), h('span', { class: 'small soft sentence' }, prose(it.why))))),
  );
}
