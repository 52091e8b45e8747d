import { h } from '../dom.js';

export const title = 'Action';

export function render(context) {
  return { node: h('div', { class: 'page' }, h('h1', {}, 'Action')) };
}
