// A list of any length, of which only what can be seen is in the document.
//
//   const list = virtual({ label, estimate, draw(index) → node })
//   list.count(n)          how many there are
//   list.redraw()          draws what is seen again
//   list.scrollTo(index), list.seen()   the indices drawn now
//   list.node
//
// Rows may differ in height and may change it (a payload opened): each is measured when it is drawn, and those never seen are taken to
// be `estimate` pixels high. What is above the window keeps its height, so nothing jumps. Screen readers hear "12 of 20,000".

import { fill, h } from './dom.js';

// Rows drawn beyond the edges, so that a quick scroll does not show a blank.
const MORE = 8;

export function virtual({ label, estimate, draw }) {
  const inner = h('div', { class: 'virtual-inner', role: 'list', 'aria-label': label });
  const node = h('div', { class: 'virtual', tabindex: '0', role: 'region', 'aria-label': label }, inner);
  let heights = [];
  let total = 0;
  let tops = null;
  let drawn = new Map();
  let frame = 0;

  const place = () => {
    if (tops) return tops;
    tops = new Float64Array(total + 1);
    for (let at = 0; at < total; at += 1) tops[at + 1] = tops[at] + (heights[at] ?? estimate);
    return tops;
  };

  const find = (y) => {
    const all = place();
    let low = 0;
    let high = total;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (all[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  const sizes = new ResizeObserver((changes) => {
    let moved = 0;
    for (const { target } of changes) {
      const at = Number(target.dataset.at);
      const height = target.offsetHeight;
      if (height === 0 || (heights[at] ?? estimate) === height) continue;
      if (place()[at] < node.scrollTop) moved += height - (heights[at] ?? estimate);
      heights[at] = height;
    }
    tops = null;
    if (moved !== 0) node.scrollTop += moved;
    ask();
  });

  const update = () => {
    frame = 0;
    const all = place();
    inner.style.height = `${all[total]}px`;
    const from = Math.max(0, find(node.scrollTop) - MORE);
    const to = Math.min(total, find(node.scrollTop + node.clientHeight) + 1 + MORE);
    for (const [at, row] of drawn) {
      if (at >= from && at < to) continue;
      // A row that has the focus stays, or the keyboard would lose its place.
      if (row.contains(document.activeElement)) continue;
      sizes.unobserve(row);
      row.remove();
      drawn.delete(at);
    }
    for (let at = from; at < to; at += 1) {
      let row = drawn.get(at);
      if (!row) {
        row = h('div', { class: 'virtual-row', role: 'listitem', 'aria-setsize': total, 'aria-posinset': at + 1, data: { at } });
        fill(row, draw(at));
        drawn.set(at, row);
        const next = [...inner.children].find((it) => Number(it.dataset.at) > at);
        inner.insertBefore(row, next ?? null);
        sizes.observe(row);
      }
      row.style.transform = `translateY(${all[at]}px)`;
    }
  };

  const ask = () => {
    if (frame === 0) frame = requestAnimationFrame(update);
  };

  node.addEventListener('scroll', ask, { passive: true });
  const seen = new ResizeObserver(ask);
  seen.observe(node);

  return {
    node,
    count(next) {
      if (next === total) return;
      total = next;
      heights.length = Math.min(heights.length, total);
      tops = null;
      for (const row of drawn.values()) row.setAttribute('aria-setsize', total);
      ask();
    },
    // Rows were put in before all others: what is seen stays where it is.
    unshift(many) {
      const isAtTop = node.scrollTop < estimate;
      heights = [...new Array(many), ...heights];
      total += many;
      tops = null;
      for (const row of drawn.values()) row.remove();
      drawn = new Map();
      if (!isAtTop) node.scrollTop += many * estimate;
      ask();
    },
    redraw(only) {
      for (const [at, row] of drawn) if (only === undefined || only(at)) fill(row, draw(at));
      ask();
    },
    // Those drawn now.
    seen: () => [...drawn.keys()],
    scrollTo(index) {
      node.scrollTop = place()[Math.max(0, Math.min(total, index))];
      ask();
    },
    stop() {
      sizes.disconnect();
      seen.disconnect();
      cancelAnimationFrame(frame);
    },
  };
}
