// One order: where it is and why, what can be done, its steps over time, and everything that was journaled about it.
//
//   order ─▶ verdict, actions, steps        trail ─▶ who touched it, compensations in the picture, what was published, the list
//
// Read once, then followed: each new journal entry of this order is added, and the order is read again soon after.

import { act, ACTIONS, fitting } from '../act.js';
import { get, isAbort, orderPath } from '../api.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { card, copy, empty, incidentLink, loading, number, orderLink, ordersLink, plural, problem, prose, sagaLink, status, tag, word } from '../show.js';
import { countdown, duration, exact, now, onMode, when } from '../time.js';
import { NEXT_WORDS } from './now.js';
import { drawSteps } from './order_steps.js';
import { trail } from './order_trail.js';

export const title = (context) => `Order ${context.params.order_id}`;

const BETWEEN_MS = 500;

const DOUBTS = {
  beginning: 'it was under way when Escrow came, or its first event is late: what happened before is not known',
  gap: 'messages were lost or unseen while it was open',
  quarantine: 'a message for it, or for the event it waits for, could not be read',
  inferred: 'a message was placed by the order of arrival, not by an id',
  evidence: 'a later step is done already, so the overdue one probably is too',
  completed: 'it was completed once and runs again',
};

export function render(context) {
  const { saga, order_id: orderId } = context.params;
  const path = `/v1${orderPath(saga, orderId)}`;
  const place = h('div', { class: 'page order' }, h('h1', {}, orderId), loading('the order'));
  const parts = makeParts(saga, orderId);
  const history = trail(saga, orderId, context.signal, () => drawHistory());
  let order = null;
  let detail = null;
  let stats = null;
  let others = null;
  let mounted = false;
  let readAt = 0;
  let waiting = 0;

  const read = async () => {
    readAt = Date.now();
    try {
      order = await get(path, {}, context.signal);
      if (!mounted) {
        mounted = true;
        fill(place, parts.head, parts.failed, parts.verdict, parts.steps, parts.published, card('Audit trail', history.node, { id: 'trail' }));
      }
      fill(parts.failed);
      history.upTo(order.sequence);
      draw();
      readOthers();
    } catch (error) {
      if (isAbort(error)) return;
      if (error.status === 404 && !mounted) fill(place, h('h1', {}, orderId), await missing(error));
      else if (mounted) fill(parts.failed, problem(error, read));
      else fill(place, h('h1', {}, orderId), problem(error, read));
    }
  };

  const readAround = async () => {
    const name = encodeURIComponent(saga);
    try {
      [detail, stats] = await Promise.all([get(`/v1/sagas/${name}`, {}, context.signal), get(`/v1/sagas/${name}/stats`, {}, context.signal)]);
      if (order) draw();
    } catch (error) {
      if (!isAbort(error)) console.warn(error);
    }
  };

  // How many more have the same trouble: those of the incident, else those that wait for the same step.
  const readOthers = async () => {
    const first = order.waiting_on[0];
    const filter = order.stuck ? { incident: order.stuck.incident } : first && { saga, waiting_on: first.step };
    if (!filter) {
      others = null;
      return;
    }
    try {
      const answer = await get('/v1/orders', { ...filter, limit: 1, count: 'true' }, context.signal);
      others = { filter, count: answer.count };
      draw();
    } catch (error) {
      if (!isAbort(error)) console.warn(error);
    }
  };

  const soon = () => {
    if (waiting !== 0) return;
    waiting = setTimeout(() => {
      waiting = 0;
      read();
    }, Math.max(0, readAt + BETWEEN_MS - Date.now()));
  };

  const done = (answer) => {
    context.say(`Done. It became entry ${answer.sequence} of the audit trail.`);
    read();
  };

  const draw = () => {
    context.name(`${word(order.status)}: ${orderId}`);
    fill(parts.state, status(order.status), h('span', { class: 'soft' }, 'saga ', sagaLink(saga), ` version ${order.version}`), order.duplicates > 0 && h('span', { class: 'soft' }, `${plural(order.duplicates, 'duplicate')} seen`));
    if (parts.why.dataset.said !== order.why) fill(parts.why, prose(order.why));
    parts.why.dataset.said = order.why;
    fill(parts.facts, verdict(order, others, history.entries(), detail));
    drawActions();
    drawHistory();
  };

  const drawActions = () => {
    const choices = fitting(order, detail);
    const key = JSON.stringify(choices);
    if (parts.actions.dataset.key === key) return;
    parts.actions.dataset.key = key;
    fill(
      parts.actions,
      h('span', { class: 'soft small' }, 'What you can do'),
      choices.map((it) => h('button', { type: 'button', title: ACTIONS[it.action].text, on: { click: () => act(order, it, done) } }, `${ACTIONS[it.action].verb} …`)),
    );
  };

  const drawHistory = () => {
    if (!order) return;
    fill(parts.facts, verdict(order, others, history.entries(), detail));
    drawSteps(parts.stepsBody, order, { stats, detail, entries: history.entries() });
    const sent = published(history.entries());
    parts.published.hidden = sent.length === 0;
    fill(parts.publishedBody, drawPublished(sent));
  };

  const missing = async (error) => {
    const found = await get('/v1/orders', { order_id: orderId, limit: 5 }, context.signal).catch(() => ({ orders: [] }));
    const since = context.status.value?.as_of;
    return empty(
      error.message,
      ['Ids are compared exactly. ', since ? ['Escrow has read all before ', when(since), '. '] : 'Escrow does not know yet how far it has read. ', 'If its message could not be read, it is in quarantine.'],
      found.orders.length > 0 && h('p', {}, 'The same id in another saga: ', found.orders.map((it) => [orderLink(it.saga, it.order_id, `${it.saga} / ${it.order_id}`), ' '])),
      h('p', { class: 'row' }, h('a', { href: '/quarantine' }, 'Look in quarantine'), h('a', { href: `/orders?saga=${encodeURIComponent(saga)}` }, `Orders of saga ${saga}`)),
    );
  };

  const ends = [
    live.entries({ saga, order_id: orderId }, (entry) => {
      if (entry) history.add(entry);
      soon();
    }),
    live.every(5, () => order && soon()),
    onMode(() => order && draw()),
  ];
  const resized = new ResizeObserver(() => order && drawSteps(parts.stepsBody, order, { stats, detail, entries: history.entries() }));
  resized.observe(parts.stepsBody);
  const moving = setInterval(() => order && !order.ended_at && !document.hidden && live.state().word === 'live' && drawSteps(parts.stepsBody, order, { stats, detail, entries: history.entries() }), 1000);
  readAround();
  read();
  return {
    node: place,
    stop() {
      clearTimeout(waiting);
      clearInterval(moving);
      resized.disconnect();
      history.stop();
      for (const end of ends) end();
    },
  };
}

function makeParts(saga, orderId) {
  const state = h('div', { class: 'row order-state' });
  const why = h('p', { class: 'why', role: 'status', 'aria-live': 'polite' });
  const actions = h('div', { class: 'row actions', role: 'group', 'aria-label': 'What you can do' });
  const facts = h('dl', { class: 'verdict' });
  const stepsBody = h('div', {});
  const publishedBody = h('div', {});
  const head = h(
    'div',
    { class: 'order-head' },
    h('p', { class: 'small soft' }, h('a', { href: '/orders' }, 'Orders'), ' / ', h('a', { href: `/orders?saga=${encodeURIComponent(saga)}` }, saga)),
    h('div', { class: 'row' }, h('h1', { class: 'mono' }, orderId), copy(orderId, 'the order id'), state),
  );
  return {
    head,
    failed: h('div', {}),
    state,
    why,
    actions,
    facts,
    verdict: h('section', { class: 'card', 'aria-label': 'Where it is and why' }, why, facts, actions),
    steps: card('Steps', stepsBody, { id: 'steps' }),
    stepsBody,
    published: card('What Escrow published', publishedBody, { id: 'published' }),
    publishedBody,
  };
}

function verdict(order, others, entries, detail) {
  const first = order.waiting_on[0];
  const step = first?.step ?? order.stuck?.step ?? order.next?.step;
  const item = (term, ...body) => h('div', {}, h('dt', {}, term), h('dd', {}, body));
  const age = order.as_of ? Math.max(0, (now() - Date.parse(order.as_of)) / 1000) : null;
  const ended = order.ended_at !== null;
  return [
    item('Where', ended ? ['ended ', status(order.status)] : step ? [h('span', { class: 'mono strong' }, step), first?.compensation && ' (undoing)'] : 'between steps', h('p', { class: 'soft small' }, `${order.progress.done} of ${plural(order.progress.total, 'step')} done`)),
    ended
      ? item('Ended', when(order.ended_at), h('p', { class: 'soft small' }, `${duration((Date.parse(order.ended_at) - Date.parse(order.created_at)) / 1000)} after it began`))
      : item('Since', when(first?.since ?? order.stuck?.since ?? order.updated_at), h('p', { class: 'soft small' }, 'began ', when(order.created_at))),
    !ended && item('Waiting for', waits(order, detail)),
    !ended && item('Due', first?.deadline ? [countdown(first.deadline), first.overdue && [' ', tag('overdue', 'bad')], first.due && [' ', tag('may still be unread', 'warn')]] : 'no deadline', first?.deadline && h('p', { class: 'soft small' }, exact(first.deadline, false))),
    !ended && item('What happens then', order.next ? [order.next.step && h('span', { class: 'mono' }, `${order.next.step}: `), NEXT_WORDS[order.next.action] ?? word(order.next.action), ' ', h('span', { class: 'soft' }, countdown(order.next.at))] : order.status === 'stuck' ? 'Nothing by itself: it needs a person' : 'Nothing is armed; a message of Escrow’s own is on its way'),
    order.stuck && item('Stuck for', h('span', { class: 'toned-text tone-bad' }, word(order.stuck.reason)), order.stuck.detail && h('p', { class: 'small break' }, order.stuck.detail), order.stuck.more > 0 && h('p', { class: 'soft small' }, `and ${plural(order.stuck.more, 'more thing')} that needs a person`)),
    !ended && item('Only this one?', drawOthers(order, others)),
    item('What Escrow does not know', order.unproven.length === 0 ? 'Nothing is in doubt' : order.unproven.map((it) => h('p', {}, tag(it, 'warn'), ' ', h('span', { class: 'small' }, DOUBTS[it] ?? ''))), h('p', { class: 'soft small' }, age === null ? 'How far it is read is not known yet' : `True for all published until ${duration(age)} ago`)),
    item('Who touched it', touched(entries, order)),
    ...Object.entries(order.attributes).map(([name, value]) => item(name, ordersLink({ [`attr.${name}`]: typeof value === 'object' ? JSON.stringify(value) : String(value) }, typeof value === 'object' ? JSON.stringify(value) : String(value), { title: `Orders with this ${name}` }))),
  ];
}

function waits(order) {
  if (order.waiting_on.length === 0) return 'nothing';
  return order.waiting_on.slice(0, 3).map((it, at) => [
    h('p', {}, it.events.length === 0 ? 'the broker’s word on the compensation' : it.events.map((event, place) => [place > 0 && ' or ', h('span', { class: 'mono' }, event)]), at > 0 && h('span', { class: 'soft small' }, ` in ${it.step}`)),
    it.queue && h('p', { class: 'soft small' }, queue(it.queue)),
  ]);
}

// Where Escrow knows the consumer's queue it says how that queue is; the shape is the API's.
function queue(it) {
  if (typeof it === 'string') return ['from the consumer of queue ', h('span', { class: 'mono' }, it)];
  const name = h('span', { class: 'mono' }, it.queue ?? it.name ?? '');
  const said = [
    it.state && word(it.state),
    it.consumers !== undefined && it.consumers !== null && (it.consumers === 0 ? 'no consumer' : plural(it.consumers, 'consumer')),
    it.messages !== undefined && it.messages !== null && plural(it.messages, 'message'),
  ].filter(Boolean);
  return ['from the consumer of queue ', name, said.length > 0 && `: ${said.join(', ')}`];
}

function drawOthers(order, others) {
  if (!others) return '…';
  const rest = Math.max(0, others.count - 1);
  if (order.stuck) {
    const text = rest === 0 ? 'Yes: no other order is stuck for this' : `No: ${plural(rest, 'other')} stuck for the same`;
    return [rest === 0 ? text : ordersLink(others.filter, text), h('p', { class: 'small' }, incidentLink(order.stuck.incident, 'the incident'))];
  }
  return rest === 0 ? 'No other waits on this step' : ordersLink(others.filter, `${plural(rest, 'other')} wait${rest === 1 ? 's' : ''} on this step`);
}

function touched(entries, order) {
  const commands = entries.filter((it) => it.actor);
  const isWhole = entries.length >= order.sequence;
  if (commands.length === 0) return isWhole ? 'Nobody so far' : `Nobody in the last ${number(entries.length)} entries`;
  return commands.slice(-3).reverse().map((it) => h('p', {}, h('strong', {}, it.actor), ` ${it.name}`, it.step && ` ${it.step}`, ' ', h('span', { class: 'soft' }, when(it.at)), it.reason && h('span', { class: 'small soft break' }, ` “${it.reason}”`)));
}

// Everything written to the outbox, newest first, with the broker's word where one is journaled (what asks something of a service).
function published(entries) {
  const sent = [];
  for (const [at, entry] of entries.entries()) {
    const asks = entry.kind === 'compensation' || entry.kind === 'retry';
    const answer = asks && entries.slice(at + 1).find((it) => it.kind === 'confirmation' && it.step === entry.step);
    if (entry.published.length > 0 || entry.kind === 'withheld') sent.push({ entry, asks, answer });
  }
  return sent.reverse();
}

const SHOWN = 20;

function drawPublished(sent) {
  const rows = sent.slice(0, SHOWN).map(({ entry, asks, answer }) =>
    h(
      'tr',
      {},
      h('td', { data: { label: 'Entry' }, class: 'numeric' }, `#${entry.sequence}`),
      h('td', { data: { label: 'What' } }, what(entry, asks)),
      h('td', { data: { label: 'When' } }, when(entry.at)),
      h('td', { data: { label: 'Confirmation' } }, confirmation(entry, asks, answer)),
      h('td', { data: { label: 'Message ids' }, class: 'small break' }, entry.published.map((id) => h('p', { class: 'id' }, id))),
    ),
  );
  return [
    h('div', { class: 'table' }, h('table', { class: 'rows' }, h('caption', { class: 'hidden' }, 'Messages Escrow published about this order'), h('thead', {}, h('tr', {}, ['Entry', 'What', 'When', 'Confirmation', 'Message ids'].map((it, at) => h('th', { scope: 'col', class: at === 0 ? 'numeric' : undefined }, it)))), h('tbody', {}, rows))),
    sent.length > SHOWN && h('p', { class: 'soft small' }, `The last ${SHOWN} of ${number(sent.length)}; all are in the audit trail.`),
  ];
}

function what(entry, asks) {
  if (entry.kind === 'withheld') return [h('span', { class: 'mono' }, entry.step), ' ', tag('withheld', 'bad')];
  const tellings = entry.published.length - (asks ? 1 : 0);
  return [
    asks && [h('span', { class: 'mono' }, entry.kind === 'compensation' ? entry.name : entry.step), ' ', tag(entry.kind, 'info'), tellings > 0 && h('span', { class: 'small soft' }, ` and ${plural(tellings, 'telling')}`)],
    !asks && [tag(tellings === 1 ? 'telling' : `${tellings} tellings`, 'calm'), ' ', h('span', { class: 'soft' }, telling(entry))],
  ];
}

const telling = (entry) => (entry.order ? `order ${word(entry.order.to)}` : entry.changes.map((it) => `${it.step} ${word(it.to)}`).join(', ') || word(entry.name ?? entry.kind));

function confirmation(entry, asks, answer) {
  if (entry.kind === 'withheld') return [status('refused', 'withheld'), ' ', h('span', { class: 'small soft' }, entry.reason ?? '')];
  if (!asks) return h('span', { class: 'soft small' }, 'leaves through the outbox; needs no listener');
  if (!answer) return status('waiting', 'not confirmed yet');
  const good = answer.reason === 'routed' || answer.reason === 'confirmed';
  return [status(good ? 'done' : 'failed', word(answer.reason ?? 'answered')), ' ', h('span', { class: 'small soft' }, `${duration((Date.parse(answer.at) - Date.parse(entry.at)) / 1000)} later`)];
}
