// Bulk actions: who began what, and how far each is, the newest first.
//
//   /actions            GET /v1/actions    the list
//   others(context, id)    the newest as a card, for the page of one action: { node, stop }
//   runningNow(context)    a line for each action that runs now, for the list of orders: { node, stop }
//
// An action belongs to nobody's browser: whoever comes second finds it here, and can stop it.

import { ACTIONS } from '../act.js';
import { get, isAbort } from '../api.js';
import { fill, h } from '../dom.js';
import * as live from '../live.js';
import { card, empty, loading, number, plural, problem, status } from '../show.js';
import { table } from '../table.js';
import { when } from '../time.js';

export const title = 'Bulk actions';

const LIST = '/v1/actions';
const AT_ONCE = 50;
const FEW = 5;
// What runs changes every moment; what does not is seen soon enough.
const EVERY_S = 3;

const verb = (it) => ACTIONS[it.action]?.verb ?? it.action;
const link = (it) => h('a', { href: `/actions/${encodeURIComponent(it.id)}` }, `${verb(it)} ${plural(it.total, 'order')}`);
const far = (it) => `${number(it.total - it.left)} of ${number(it.total)}`;

// What it is about, in words.
export const named = (it) => {
  const filter = Object.entries(it.filter).map(([name, value]) => `${name}=${value}`).join(', ');
  const ticked = it.named !== null && `${plural(it.named, 'order')} named one by one`;
  return [ticked, filter].filter(Boolean).join(', of these ');
};

const rows = (caption) =>
  table({
    caption,
    key: (it) => it.id,
    columns: [
      { head: 'State', cell: (it) => status(it.status) },
      { head: 'Action', cell: link },
      { head: 'Acted on', numeric: true, cell: far },
      { head: 'Refused', numeric: true, cell: (it) => number(it.refused) },
      { head: 'Which orders', class: 'break', cell: named },
      { head: 'Asked by', cell: (it) => it.actor },
      { head: 'Reason', class: 'break', cell: (it) => it.reason },
      { head: 'Begun', cell: (it) => when(it.created_at) },
      { head: 'Ended', cell: (it) => (it.ended_at ? when(it.ended_at) : '') },
    ],
    empty: () => empty('None so far', 'On the Orders page set a filter or tick orders, and act on all of them at once.', h('a', { href: '/orders' }, 'Go to Orders')),
  });

export function render(context) {
  let shown = [];
  let cursor = null;
  const said = h('div', {}, loading('the actions'));
  const list = rows('Bulk actions, the newest first');
  const more = h('div', { class: 'row' });
  list.node.hidden = true;
  const node = h(
    'div',
    { class: 'page' },
    h('div', { class: 'page-head' }, h('h1', {}, 'Bulk actions'), h('p', { class: 'lead' }, 'What was asked of many orders at once, and how far it is.')),
    said,
    list.node,
    more,
  );

  async function read(after) {
    try {
      const answer = await get(LIST, { limit: AT_ONCE, cursor: after }, context.signal);
      shown = after ? [...shown, ...answer.actions] : answer.actions;
      cursor = answer.next_cursor;
      fill(said);
      list.node.hidden = false;
      list.show(shown);
      fill(more, cursor && h('button', { type: 'button', on: { click: () => read(cursor) } }, 'Show more'));
    } catch (error) {
      if (!isAbort(error)) fill(said, problem(error, () => read()));
    }
  }

  read();
  // A page further down is not pulled away from under the reader.
  const stop = live.every(EVERY_S, () => shown.length <= AT_ONCE && read());
  return { node, stop };
}

export function others(context, id) {
  const list = rows('The newest bulk actions');
  const node = card('Other bulk actions', [list.node, h('p', {}, h('a', { href: '/actions' }, 'All bulk actions'))], { id: 'others' });
  node.hidden = true;
  const stop = again(context, { limit: FEW + 1 }, (actions) => {
    const rest = actions.filter((it) => it.id !== id).slice(0, FEW);
    node.hidden = rest.length === 0;
    list.show(rest);
  });
  return { node, stop };
}

export function runningNow(context) {
  const node = h('div', { role: 'status', 'aria-live': 'polite' });
  let drawn = '';
  const stop = again(context, { status: 'running', limit: FEW }, (actions) => {
    // Said aloud when one begins or ends, not with every order.
    const key = actions.map((it) => it.id).join();
    if (key === drawn) return;
    drawn = key;
    fill(node, actions.map((it) => h('div', { class: 'news' }, status('running'), h('span', {}, link(it), `, asked by ${it.actor}: ${it.reason}`))));
  });
  return { node, stop };
}

function again(context, query, show) {
  const read = async () => {
    try {
      show((await get(LIST, query, context.signal)).actions);
    } catch (error) {
      if (!isAbort(error)) console.warn(error);
    }
  };
  read();
  return live.every(EVERY_S, read);
}
