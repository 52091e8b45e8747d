// Orders: the list, its filters (all of them in the address), and what can be done about many at once.
//
// What is being read never moves by itself: rows shown are kept right in place, and orders that came meanwhile are counted in a line
// above the list until the reader asks for them.

import { actOnMany, actOnThese } from '../act.js';
import { get, isAbort, pages, search } from '../api.js';
import { fill, h, tell } from '../dom.js';
import * as live from '../live.js';
import { empty, loading, number, ORDER_STATUSES, orderLink, ordersLink, plural, problem, REASONS, status, tag, word } from '../show.js';
import { table } from '../table.js';
import { countdown, when } from '../time.js';
import { runningNow } from './actions.js';

export const title = 'Orders';

const FILTERS = ['order_id', 'saga', 'status', 'waiting_on', 'reason', 'incident', 'older_than'];
const NAMES = { order_id: 'id', saga: 'saga', status: 'status', waiting_on: 'waiting on', reason: 'stuck for', incident: 'incident', older_than: 'waiting longer than' };
const LIMITS = [50, 100, 200, 500];
// A new look at the page is not taken more often than this.
const BETWEEN_MS = 3000;
const ATTRIBUTES_SHOWN = 4;

export function render(context) {
  const lead = h('p', { class: 'lead', role: 'status', 'aria-live': 'polite' });
  const filters = h('div', { class: 'filters' });
  const chips = h('div', { class: 'chips' });
  const news = h('div', { role: 'status', 'aria-live': 'polite' });
  const running = runningNow(context);
  const bulk = h('div', { class: 'bulk' });
  const place = h('div', {}, loading('orders'));
  const paging = h('div', { class: 'paging' });
  const node = h(
    'div',
    { class: 'page orders' },
    h('div', { class: 'page-head' }, h('h1', {}, 'Orders'), lead, h('div', { class: 'page-actions' }, h('a', { href: '/actions' }, 'Bulk actions'))),
    filters,
    chips,
    news,
    running.node,
    bulk,
    h('section', { class: 'card', 'aria-label': 'Orders' }, place, paging),
  );

  let query = context.query;
  let sagas = [];
  let shown = [];
  let total;
  let list = null;
  let columnsKey = '';
  let readAt = 0;
  let waiting = 0;
  let round = 0;
  const ticked = new Set();

  const given = () => Object.fromEntries([...query.entries()].filter(([name]) => FILTERS.includes(name) || name.startsWith('attr.')));
  const keyOf = (order) => `${order.saga}/${order.order_id}`;
  const go = (changes) => {
    const next = { ...given(), limit: query.get('limit') ?? undefined, ...changes };
    context.go(`/orders${search(next)}`);
  };

  const ask = () => get('/v1/orders', { ...Object.fromEntries(query), count: 'true' }, context.signal);

  const read = async () => {
    const mine = ++round;
    readAt = Date.now();
    try {
      const page = await ask();
      if (mine !== round) return;
      shown = page.orders;
      total = page.count;
      fill(news);
      draw(page);
    } catch (error) {
      if (isAbort(error) || mine !== round) return;
      list = null;
      fill(place, problem(error, read));
      fill(paging);
      fill(lead, 'The orders could not be read.');
    }
  };

  // Looks again, and changes only rows that are there.
  const look = async () => {
    if (!list) return;
    const mine = round;
    readAt = Date.now();
    try {
      const page = await ask();
      if (mine !== round) return;
      total = page.count;
      const known = new Map(page.orders.map((it) => [keyOf(it), it]));
      const before = new Set(shown.map(keyOf));
      const came = page.orders.filter((it) => !before.has(keyOf(it))).length;
      // Those that came push as many off the end of a full page: they have not left.
      const gone = shown.filter((it) => !known.has(keyOf(it))).length;
      const left = page.next_cursor ? Math.max(0, gone - came) : gone;
      if (came === 0 && left === 0) {
        shown = page.orders;
        draw(page);
        return;
      }
      shown = shown.map((it) => known.get(keyOf(it)) ?? it);
      list.show(shown);
      count();
      if (!bulk.contains(document.activeElement)) drawBulk();
      const words = [came > 0 && `${plural(came, 'order')} came`, left > 0 && `${plural(left, 'order')} left the list`].filter(Boolean).join(', ');
      fill(news, h('div', { class: 'news' }, h('span', {}, `${words}.`), h('button', { type: 'button', on: { click: read } }, 'Show')));
    } catch (error) {
      if (!isAbort(error)) console.warn(error);
    }
  };

  const soon = () => {
    if (waiting !== 0) return;
    waiting = setTimeout(() => {
      waiting = 0;
      look();
    }, Math.max(0, readAt + BETWEEN_MS - Date.now()));
  };

  const count = () => {
    const filtered = Object.keys(given()).length > 0;
    const match = filtered ? (total === 1 ? ' matches' : ' match') : '';
    tell(lead, total === undefined ? '' : `${total >= 10_000 ? 'about ' : ''}${plural(total, 'order')}${match}`);
  };

  const draw = (page) => {
    count();
    const attributes = [...new Set(shown.flatMap((it) => Object.keys(it.attributes)))].slice(0, ATTRIBUTES_SHOWN);
    const many = sagas.length > 1 || new Set(shown.map((it) => it.saga)).size > 1;
    const key = JSON.stringify([attributes, many]);
    if (!list || key !== columnsKey || !list.node.isConnected) {
      columnsKey = key;
      list = makeTable(attributes, many);
      fill(place, list.node);
    }
    for (const key of ticked) if (!shown.some((it) => keyOf(it) === key)) ticked.delete(key);
    list.show(shown);
    drawBulk();
    const cursor = query.get('cursor');
    fill(
      paging,
      cursor && h('button', { type: 'button', on: { click: () => go({ cursor: undefined }) } }, 'Newest'),
      page.next_cursor && h('button', { type: 'button', on: { click: () => go({ cursor: page.next_cursor }) } }, 'Older'),
      shown.length > 0 && limitChoice(),
    );
  };

  const limitChoice = () => {
    const select = h('select', { 'aria-label': 'Orders on a page', value: query.get('limit') ?? '50' }, LIMITS.map((it) => h('option', { value: it }, `${it} a page`)));
    select.addEventListener('change', () => go({ limit: select.value === '50' ? undefined : select.value }));
    return select;
  };

  const makeTable = (attributes, many) =>
    table({
      caption: 'Orders, newest first',
      key: keyOf,
      rowClass: (order) => (order.status === 'stuck' ? 'is-stuck' : undefined),
      columns: [
        { head: 'Ticked', hidden: true, class: 'tick', cell: tick },
        { head: 'Order', cell: (order) => h('span', { class: 'order-cell' }, openLink(order), order.unproven.length > 0 && [' ', tag('unproven', 'warn')]) },
        many && { head: 'Saga', cell: (order) => link({ saga: order.saga }, order.saga) },
        { head: 'Status', cell: (order) => link({ status: order.status }, status(order.status), `Only ${word(order.status)} orders`) },
        { head: 'Where', class: 'where', cell: where },
        { head: 'Waits since', cell: (order) => (order.waiting_on[0]?.since ? when(order.waiting_on[0].since) : dash()) },
        { head: 'Next', cell: (order) => (order.next ? [countdown(order.next.at)] : dash()) },
        ...attributes.map((name) => ({ head: name, cell: (order) => attribute(order, name) })),
        { head: 'Steps', numeric: true, cell: (order) => `${order.progress.done}/${order.progress.total}` },
        { head: 'Begun', cell: (order) => when(order.created_at) },
      ].filter(Boolean),
      empty: () => nothing(),
    });

  const openLink = (order) => {
    const made = orderLink(order.saga, order.order_id);
    made.dataset.open = '';
    return made;
  };

  const link = (change, text, hint) => h('a', { href: `/orders${search({ ...given(), ...change })}`, class: 'plain', title: hint }, text);

  const where = (order) => {
    const first = order.waiting_on[0];
    const stuck = order.stuck && link({ reason: order.stuck.reason, status: undefined }, [h('span', { class: 'tone-bad toned-text' }, word(order.stuck.reason))], 'Only orders stuck for this');
    if (!first) return order.stuck ? [order.stuck.step && h('span', { class: 'mono' }, `${order.stuck.step} `), stuck] : dash();
    const more = order.waiting_on.length - 1;
    return [
      link({ waiting_on: first.step }, h('span', { class: 'mono' }, first.step), `Only orders waiting on ${first.step}`),
      h('span', { class: 'soft small' }, ` ${first.compensation ? 'undoing, ' : ''}${first.events.join(' or ') || 'the broker’s word'}`),
      first.overdue && [' ', tag('overdue', 'bad')],
      first.due && [' ', tag('due', 'warn')],
      more > 0 && h('span', { class: 'soft small' }, ` and ${more} more`),
      stuck && [' · ', stuck],
    ];
  };

  const attribute = (order, name) => {
    const value = order.attributes[name];
    if (value === undefined || value === null) return dash();
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
    return link({ [`attr.${name}`]: text }, text, `Only orders with ${name} ${text}`);
  };

  const tick = (order) => {
    const box = h('input', { type: 'checkbox', checked: ticked.has(keyOf(order)), 'aria-label': `Tick order ${order.order_id}` });
    box.addEventListener('change', () => {
      if (box.checked) ticked.add(keyOf(order));
      else ticked.delete(keyOf(order));
      drawBulk();
    });
    return box;
  };

  const tickAll = (on) => {
    for (const order of shown) {
      if (on) ticked.add(keyOf(order));
      else ticked.delete(keyOf(order));
    }
    list.show(shown);
    drawBulk();
  };

  const drawBulk = () => {
    const filter = given();
    const isFiltered = Object.keys(filter).length > 0;
    if (shown.length === 0) {
      fill(bulk);
      return;
    }
    const all = h('input', { type: 'checkbox', checked: ticked.size === shown.length });
    all.indeterminate = ticked.size > 0 && ticked.size < shown.length;
    all.addEventListener('change', () => tickAll(all.checked));
    fill(
      bulk,
      h('label', { class: 'row' }, all, ticked.size === 0 ? `Tick the ${shown.length} on this page` : `${plural(ticked.size, 'order')} on this page ticked`),
      ticked.size > 0 && h('button', { type: 'button', on: { click: () => begin(() => actOnThese(shown.filter((it) => ticked.has(keyOf(it))), given())) } }, 'Act on the ticked …'),
      isFiltered
        ? h('button', { type: 'button', on: { click: () => begin(() => actOnMany(given(), total)) } }, `Act on all ${total >= 10_000 ? 'about ' : ''}${number(total)} that match …`)
        : h('span', { class: 'hint' }, 'To act on more than a page, say which orders: set a filter.'),
    );
  };

  const begin = async (ask) => {
    try {
      const id = await ask();
      if (id) context.go(`/actions/${id}`);
    } catch (error) {
      fill(news, problem(error));
    }
  };

  const nothing = () => {
    const filter = given();
    if (Object.keys(filter).length === 0) {
      return empty('No order yet', 'Escrow has seen no event of a saga so far. The System page says which exchanges are watched, which are missing, and how far they are read.', h('a', { href: '/system' }, 'Go to System'));
    }
    if (query.get('cursor')) return empty('Nothing older', 'This is the end of the list.', h('button', { type: 'button', on: { click: () => go({ cursor: undefined }) } }, 'Newest'));
    if (filter.order_id) {
      const alike = h('div', {});
      findAlike(filter.order_id, alike);
      const watched = sagas.map((it) => it.saga).join(', ') || 'no saga';
      const since = context.status.value?.as_of;
      return empty(
        `No order ${filter.order_id}`,
        ['Escrow follows ', watched, since ? [' and has read all before ', when(since)] : ' and does not know yet how far it has read', '. Ids are compared exactly, capitals and blanks too. A message that could not be read may be in quarantine.'],
        alike,
        h('p', { class: 'row' }, h('a', { href: '/quarantine' }, 'Look in quarantine'), h('a', { href: '/orders' }, 'All orders')),
      );
    }
    return empty('No order matches', 'Take a filter away, or look at all orders.', h('a', { href: '/orders' }, 'All orders'));
  };

  const findAlike = async (text, place) => {
    const answer = await get('/v1/search', { text, limit: 20 }, context.signal).catch(() => null);
    if (!answer || answer.orders.length === 0) return;
    const lines = answer.orders.map((it) => h('li', { tabindex: '-1', data: { row: keyOf(it) } }, orderLink(it.saga, it.order_id), ' ', status(it.status), h('span', { class: 'soft small' }, ` ${it.saga}`)));
    fill(place, h('p', { class: 'empty-title' }, 'Ids that begin like this'), h('ul', { class: 'alike' }, lines), answer.more && h('p', { class: 'small' }, 'and more; type more of the id.'));
  };

  // ---- filters ----
  const drawFilters = () => {
    const chosen = (query.get('status') ?? '').split(',').filter(Boolean);
    const states = ORDER_STATUSES.map((it) => {
      const on = chosen.includes(it);
      const button = h('button', { type: 'button', id: `filter-status-${it}`, class: ['chip-toggle', on && 'on'], 'aria-pressed': String(on) }, status(it));
      button.addEventListener('click', () => go({ status: on ? chosen.filter((one) => one !== it) : [...chosen, it] }));
      return button;
    });
    const wantedSagas = (query.get('saga') ?? '').split(',').filter(Boolean);
    const within = sagas.filter((it) => wantedSagas.length === 0 || wantedSagas.includes(it.saga));
    const steps = [...new Set(within.flatMap((it) => it.steps))];
    const names = [...new Set(shown.flatMap((it) => Object.keys(it.attributes)))];
    fill(
      filters,
      h('div', { class: 'chip-row', role: 'group', 'aria-label': 'Status' }, states),
      h(
        'form',
        { class: 'filter-row', on: { submit: (event) => event.preventDefault() } },
        select('saga', 'Saga', sagas.map((it) => it.saga)),
        select('waiting_on', 'Waiting on', steps),
        select('reason', 'Stuck for', REASONS),
        input('older_than', 'Waiting longer than', '10m', 8),
        input('order_id', 'Order id', 'exactly', 18),
        attributeField(names),
      ),
    );
  };

  // What had the focus has it again.
  const redrawFilters = () => {
    const held = filters.contains(document.activeElement) ? document.activeElement.id : '';
    drawFilters();
    if (held) document.getElementById(held)?.focus({ preventScroll: true });
  };

  const select = (name, label, options) => {
    const value = query.get(name) ?? '';
    const all = value !== '' && !options.includes(value) ? [value, ...options] : options;
    const made = h('select', { id: `filter-${name}`, value }, h('option', { value: '' }, 'any'), all.map((it) => h('option', { value: it }, word(it))));
    made.addEventListener('change', () => go({ [name]: made.value, ...(name === 'saga' ? { waiting_on: undefined } : {}) }));
    return h('div', { class: 'filter' }, h('label', { for: `filter-${name}` }, label), made);
  };

  const input = (name, label, placeholder, size) => {
    const made = h('input', { id: `filter-${name}`, type: 'text', value: query.get(name) ?? '', placeholder, size, autocomplete: 'off', spellcheck: 'false' });
    made.addEventListener('change', () => go({ [name]: made.value.trim() }));
    made.addEventListener('keydown', (event) => event.key === 'Enter' && made.blur());
    return h('div', { class: 'filter' }, h('label', { for: `filter-${name}` }, label), made);
  };

  const attributeField = (names) => {
    const name = h('input', { id: 'filter-attr', type: 'text', list: 'filter-attr-names', placeholder: 'customer', size: 10, autocomplete: 'off' });
    const value = h('input', { type: 'text', 'aria-label': 'Value of the attribute', placeholder: 'value', size: 12, autocomplete: 'off' });
    const set = () => name.value.trim() && value.value.trim() && go({ [`attr.${name.value.trim()}`]: value.value.trim() });
    value.addEventListener('change', set);
    value.addEventListener('keydown', (event) => event.key === 'Enter' && value.blur());
    return h('div', { class: 'filter' }, h('label', { for: 'filter-attr' }, 'Attribute'), h('span', { class: 'row joined' }, name, value), h('datalist', { id: 'filter-attr-names' }, names.map((it) => h('option', { value: it }))));
  };

  const drawChips = () => {
    const filter = given();
    const items = Object.entries(filter).map(([name, value]) => {
      const label = NAMES[name] ?? name.replace('attr.', '');
      const text = name === 'incident' ? value.slice(0, 8) : value.split(',').map((it) => (name === 'order_id' || name.startsWith('attr.') ? it : word(it))).join(', ');
      const remove = h('button', { type: 'button', class: 'quiet small', 'aria-label': `Take the filter ${label} away` }, '×');
      remove.addEventListener('click', () => go({ [name]: undefined }));
      return h('span', { class: 'chip' }, h('span', { class: 'soft' }, label), ' ', h('span', { class: 'break' }, text), remove);
    });
    fill(chips, items, items.length > 1 && ordersLink({}, 'Take all away'));
    chips.hidden = items.length === 0;
  };

  const readSagas = async () => {
    try {
      sagas = await pages('/v1/sagas', {}, 'sagas', 1000, context.signal);
      redrawFilters();
    } catch (error) {
      if (!isAbort(error)) console.warn(error);
    }
  };

  drawFilters();
  drawChips();
  readSagas();
  read();
  const ends = [live.pulse(soon), live.every(15, soon), running.stop];
  return {
    node,
    changed(next) {
      query = next.query;
      ticked.clear();
      redrawFilters();
      drawChips();
      read();
    },
    stop() {
      clearTimeout(waiting);
      for (const end of ends) end();
    },
  };
}

const dash = () => h('span', { class: 'soft dash' }, '—');
