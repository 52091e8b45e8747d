// Tables of rows, redrawn in place.
//
//   const list = table({ caption, columns, key, empty })
//   list.show(rows)        replaces the rows; focus stays on the row with the same key
//   list.append(rows)      adds below
//   list.node              put this on the page
//
// A column: { head, cell(row) → node or text, class?, numeric?, hidden? (a head for screen readers only) }. `key(row)` names a row.
// Rows take part in j and k (see main.js): Enter follows the first link of the row in hand. On narrow screens every row becomes a
// small card, its cells labelled by their heads, so nothing scrolls sideways.

import { fill, h } from './dom.js';

export function table({ caption, columns, key, empty, rowClass, foot }) {
  const body = h('tbody', {});
  const head = h(
    'tr',
    {},
    columns.map((it) =>
      h('th', { scope: 'col', class: [it.numeric && 'numeric', it.class] }, it.hidden ? h('span', { class: 'hidden' }, it.head) : it.head),
    ),
  );
  const grid = h('table', { class: 'rows' }, h('caption', { class: 'hidden' }, caption), h('thead', {}, head), body, foot);
  const none = h('div', { class: 'none' });
  const node = h('div', { class: 'table' }, grid, none);

  const line = (row) =>
    h(
      'tr',
      { tabindex: '-1', data: { row: String(key(row)) }, class: rowClass?.(row) },
      columns.map((it) => h('td', { class: [it.numeric && 'numeric', it.class], data: { label: it.head } }, it.cell(row))),
    );

  const settle = () => {
    const isEmpty = body.childElementCount === 0;
    grid.hidden = isEmpty;
    fill(none, isEmpty && (typeof empty === 'function' ? empty() : empty));
  };

  return {
    node,
    body,
    show(rows) {
      const held = holder(body);
      fill(body, rows.map(line));
      settle();
      held?.();
    },
    append(rows) {
      body.append(...rows.map(line));
      settle();
    },
  };
}

// Remembers which row, and what in it, has the focus; gives what puts it back.
function holder(body) {
  const active = document.activeElement;
  const row = active?.closest?.('[data-row]');
  if (!row || !body.contains(row)) return null;
  const key = row.dataset.row;
  const place = [...row.querySelectorAll('a,button,input,select')].indexOf(active);
  return () => {
    const again = [...body.children].find((it) => it.dataset.row === key);
    const inner = place < 0 ? again : again?.querySelectorAll('a,button,input,select')[place];
    (inner ?? again)?.focus({ preventScroll: true });
  };
}
