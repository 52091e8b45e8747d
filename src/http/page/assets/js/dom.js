// Elements made from plain calls: h('a', { href: '/orders', class: 'id' }, '101').
//
// Promises: every text becomes a text node, so nothing an order, a message or a person wrote is ever read as markup; there is
// no way to hand in HTML. Never sets a style attribute, which the content security policy forbids: what must be computed goes into
// `vars` (custom properties, read by the style sheet) or, for pictures, into attributes of svg().
//
//   h(tag, properties, ...children)      an element
//   svg(tag, attributes, ...children)    the same in the SVG namespace
//   fill(node, ...children)              replaces what is in it
//   tell(node, text)                     the same for the text of a live region, only where it changed
//
// Properties: `class` (text or a list; what is false is left out), `on` ({ click: fn }), `data` ({ key: value }), `vars`
// ({ '--share': 0.4 }), anything else is an attribute; true sets it empty, false, null and undefined leave it out.
// Children: nodes, text, numbers, nested lists; what is false, null or undefined is left out.

const SVG = 'http://www.w3.org/2000/svg';

export function h(tag, properties, ...children) {
  return build(document.createElement(tag), properties, children);
}

export function svg(tag, attributes, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

// For places a screen reader listens to: the same again is not said again.
export function tell(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function build(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') node.setAttribute('class', Array.isArray(value) ? value.filter(Boolean).join(' ') : value);
    else if (name === 'on') for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    else if (name === 'data') Object.assign(node.dataset, value);
    else if (name === 'vars') for (const [key, it] of Object.entries(value)) node.style.setProperty(key, it);
    else if (name === 'value') continue;
    else if (name === 'style' || name.startsWith('on')) throw new Error(`h() takes no ${name}`);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...flat(children));
  // After the children: a select knows its options only now.
  if (properties?.value !== undefined && properties.value !== null) node.value = properties.value;
  return node;
}

function flat(children) {
  return children.flat(Infinity).filter((it) => it !== null && it !== undefined && it !== false && it !== '');
}
