// What a person can do about orders: which actions fit, and the questions asked before one is sent.
//
//   fitting(order, saga)            the actions that fit where the order stands: [{ action, steps, whole }]; saga: its detail, for retries
//   act(order, choice, done)        asks for a reason and does it; done(answer) afterwards
//   actOnMany(filter, total)        asks, previews, and begins an action on all a filter names; gives its id, or null
//   actOnThese(orders, done)        the same on the orders ticked on a page, one after the other, with progress
//
// Escrow decides whether an action fits: this only keeps from the screen what plainly does not. What Escrow says against one (409) is
// shown in the dialog, in its words.

import { newKey, orderPath, pages, post } from './api.js';
import { ask, who, why } from './dialog.js';
import { fill, h } from './dom.js';
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

async function choose(title, what, known, more = []) {
  const options = Object.entries(ACTIONS).map(([value, it]) => ({ value, text: it.verb }));
  return ask({
    title,
    text: [what, h('p', { class: 'hint' }, 'Where it does not fit an order, that order is left as it is and the result says why.')],
    fields: [
      { name: 'action', label: 'Action', type: 'select', options },
      { name: 'step', label: 'Step', type: 'select', options: [{ value: '', text: 'the one that needs a person' }, ...known], hint: 'For retry, skip and extend.' },
      { ...byField, required: false, hint: 'For extend: like 10m, 2h or 1d.' },
      ...more,
      why(),
      who(),
    ],
    confirm: 'Preview',
    submit: async (values) => values,
  });
}

export async function actOnMany(filter, total) {
  const rate = { name: 'per_second', label: 'Orders a second', type: 'number', value: '10', min: '0.01', max: '100', step: 'any', required: true, hint: 'A service that just came back is not run over at 10; at most 100.' };
  const known = await steps(filter.saga);
  const what = h('p', {}, `All orders that match the filter now${total === undefined ? '' : `, about ${number(total)}`}. The list is taken when you begin: orders that come later are not touched.`);
  const values = await choose('Act on all that match', what, known, [rate]);
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
  const answer = await ask({
    title: `${ACTIONS[values.action].verb} ${plural(preview.count, 'order')}`,
    wide: true,
    text: [
      h('p', {}, ACTIONS[values.action].text),
      h('p', {}, `At ${values.per_second} a second this takes about ${minutes(preview.count / Number(values.per_second))}. You can stop it at any time; what was done stays.`),
      h('p', { class: 'soft' }, `Reason: ${values.reason}`),
      samples(preview.samples, preview.count),
    ],
    fields: [{ name: 'typed', label: `Type ${preview.count} to confirm`, required: true, must: String(preview.count) }],
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

export async function actOnThese(orders, done) {
  const known = [...new Set(orders.flatMap((it) => it.steps.map((step) => step.step)))];
  const what = h('p', {}, `The ${plural(orders.length, 'order')} ticked on this page, one after the other. Keep this page open until it is done.`);
  const values = await choose('Act on the ticked orders', what, known);
  if (!values) return;
  const { verb, text, danger } = ACTIONS[values.action];
  const lines = orders.map((order) => ({ order, key: newKey(), node: h('span', { class: 'soft' }, 'waits'), isDone: false }));
  const count = h('p', { role: 'status', 'aria-live': 'polite' }, '');
  const list = h('ul', {}, lines.map((it) => h('li', { class: 'row spread' }, orderLink(it.order.saga, it.order.order_id), it.node)));
  let refused = 0;
  await ask({
    title: `${verb} ${plural(orders.length, 'order')}`,
    wide: true,
    text: [h('p', {}, text), h('p', { class: 'soft' }, `Reason: ${values.reason}`), count, h('div', { class: 'samples', tabindex: '0', role: 'region', 'aria-label': 'The orders' }, list)],
    confirm: 'Begin',
    danger,
    // Closing the dialog stops after the order in hand. What failed to be sent can be begun again: its key makes that safe.
    submit: async () => {
      for (const [at, line] of lines.entries()) {
        if (line.isDone) continue;
        if (!list.isConnected) break;
        fill(line.node, 'in hand …');
        try {
          await post(`/v1${orderPath(line.order.saga, line.order.order_id)}/actions`, body(values.action, values), { key: line.key });
          fill(line.node, status('done'));
        } catch (error) {
          if (error.status === 0 || error.status >= 500) {
            fill(line.node, h('span', { class: 'soft' }, 'waits'));
            throw error;
          }
          refused += 1;
          fill(line.node, status('refused'), h('span', { class: 'small soft' }, ' ', prose(error.message)));
        }
        line.isDone = true;
        fill(count, `${at + 1} of ${orders.length} done${refused > 0 ? `, ${refused} refused` : ''}.`);
      }
      done();
      return refused > 0 ? { stay: `${plural(refused, 'order')} refused; each says why.` } : true;
    },
  });
  done();
}

