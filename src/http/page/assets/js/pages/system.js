import { h } from '../dom.js';

export const title = 'System';

export function render(context) {
  return { node: h('div', { class: 'page' }, h('h1', {}, 'System')) };
}
