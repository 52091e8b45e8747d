import { h } from '../dom.js';

export const title = 'Now';

export function render(context) {
  return { node: h('div', { class: 'page' }, h('h1', {}, 'Now')) };
}
