import { h } from '../dom.js';

export const title = 'Map';

export function render(context) {
  return { node: h('div', { class: 'page' }, h('h1', {}, 'Map')) };
}
