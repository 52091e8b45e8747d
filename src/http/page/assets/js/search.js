// The search box: an id, the beginning of one, or name=value.
//
//   typed   ──▶ what begins like it, to choose from (arrows and Enter, or a click)
//   Enter   ──▶ the order with exactly this id, where it is one; else the list
//   a=b     ──▶ the list with that filter: customer=Jane, status=stuck, older_than=10m

import { get, isAbort, orderPath, search } from './api.js';
import { fill, h } from './dom.js';
import { status } from './show.js';

const FILTERS = ['order_id', 'saga', 'status', 'waiting_on', 'reason', 'incident', 'older_than'];
const TYPING_MS = 120;
const SHOWN = 8;

export function searchBox(form, box, { go, say }) {
  const list = h('ul', { id: 'search-found', role: 'listbox', 'aria-label': 'Orders whose id begins like this', hidden: true });
  form.append(list);
  for (const [name, value] of [['role', 'combobox'], ['aria-expanded', 'false'], ['aria-controls', 'search-found'], ['aria-autocomplete', 'list']]) box.setAttribute(name, value);
  let found = [];
  let chosen = -1;
  let typing = 0;
  let asking = new AbortController();

  const close = () => {
    clearTimeout(typing);
    asking.abort();
    found = [];
    choose(-1);
    list.hidden = true;
    box.setAttribute('aria-expanded', 'false');
  };

  const choose = (at) => {
    chosen = at;
    for (const [place, option] of [...list.children].entries()) option.setAttribute('aria-selected', String(place === at));
    if (at < 0) box.removeAttribute('aria-activedescendant');
    else box.setAttribute('aria-activedescendant', `search-found-${at}`);
  };

  const open = (order) => {
    close();
    box.value = '';
    box.blur();
    return go(orderPath(order.saga, order.order_id));
  };

  const draw = (answer, text) => {
    found = answer.orders;
    const many = new Set(found.map((it) => it.saga)).size > 1;
    fill(
      list,
      found.map((it, at) =>
        h(
          'li',
          { role: 'option', id: `search-found-${at}`, 'aria-selected': 'false', on: { mousedown: (event) => event.preventDefault(), click: () => open(it) } },
          h('span', { class: 'id' }, h('strong', {}, text), it.order_id.slice(text.length)),
          many && h('span', { class: 'soft small' }, it.saga),
          status(it.status),
        ),
      ),
    );
    choose(-1);
    list.hidden = found.length === 0;
    box.setAttribute('aria-expanded', String(found.length > 0));
    if (found.length > 0) say(`${found.length}${answer.more ? ' or more' : ''} orders begin like this.`);
  };

  const look = async () => {
    const text = box.value.trim();
    asking.abort();
    asking = new AbortController();
    if (text === '' || text.includes('=')) return close();
    try {
      draw(await get('/v1/search', { text, limit: SHOWN }, asking.signal), text);
    } catch (error) {
      // Only a help while typing: what is wrong shows itself on Enter.
      if (!isAbort(error)) close();
    }
  };

  const find = async (text) => {
    const pair = /^([A-Za-z][\w.-]*)=(.+)$/.exec(text);
    if (pair) {
      const [, name, value] = pair;
      return go(`/orders${search({ [FILTERS.includes(name) ? name : `attr.${name.replace(/^attr\./, '')}`]: value.trim() })}`);
    }
    try {
      const { orders } = await get('/v1/orders', { order_id: text, limit: 2 });
      if (orders.length === 1) return go(orderPath(orders[0].saga, orders[0].order_id));
    } catch (error) {
      if (error.status === 0) return say(error.message);
    }
    return go(`/orders${search({ order_id: text })}`);
  };

  box.addEventListener('input', () => {
    clearTimeout(typing);
    typing = setTimeout(look, TYPING_MS);
  });
  box.addEventListener('blur', close);
  box.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close();
    if (found.length === 0 || (event.key !== 'ArrowDown' && event.key !== 'ArrowUp')) return;
    event.preventDefault();
    const by = event.key === 'ArrowDown' ? 1 : -1;
    choose(Math.max(-1, Math.min(found.length - 1, chosen + by)));
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const text = box.value.trim();
    const one = found[chosen];
    close();
    if (one) return open(one);
    if (text === '') return go('/orders');
    await find(text);
    box.value = '';
    box.blur();
  });
}
