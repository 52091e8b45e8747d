// Who is signed in, and the door where a token is needed.
//
//   await begin(show)    asks who is signed in; from then on calls show(node) whenever Escrow asks for a token: put the node in place
//   card()               who is signed in, with a button to leave; empty where nobody has to sign in
//   signedIn()           the name that goes into the journal, or '' where people name themselves
//
// The token goes to Escrow once and is kept nowhere here: the cookie that shows it from then on is none a script can read.

import { REFUSED, get, post, remove } from './api.js';
import { fill, h } from './dom.js';
import { problem } from './show.js';

let session = null;
let open = null;
const place = h('div', { class: 'side-more' });

export const signedIn = () => session?.name ?? '';
export const card = () => place;

export async function begin(show) {
  document.addEventListener(REFUSED, () => {
    if (open?.isConnected) return;
    open = door();
    show(open);
    open.querySelector('input').focus();
  });
  try {
    session = await get('/v1/session');
  } catch {
    return; // Without a token the door is open already; without an answer the shell says so.
  }
  if (session.required) fill(place, h('span', { class: 'small' }, `${session.name} (${session.role})`), h('button', { type: 'button', class: 'quiet', on: { click: leave } }, 'Sign out'));
}

async function leave() {
  try {
    await remove('/v1/session');
  } finally {
    location.reload();
  }
}

function door() {
  const said = h('div', { role: 'alert' });
  const input = h('input', { id: 'door-token', type: 'password', name: 'token', autocomplete: 'current-password', spellcheck: 'false', required: true, 'aria-describedby': 'door-hint' });
  const yes = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  const form = h(
    'form',
    { class: 'door', novalidate: true },
    h('h1', {}, 'Sign in'),
    h('div', { class: 'field' }, h('label', { for: 'door-token' }, 'Token'), input, h('p', { class: 'hint', id: 'door-hint' }, 'Begins with escrow_. Whoever operates this Escrow makes one with: escrow token new')),
    said,
    yes,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    yes.disabled = true;
    try {
      await post('/v1/session', { token: input.value.trim() });
      location.reload();
    } catch (error) {
      fill(said, problem(error));
      yes.disabled = false;
      input.select();
    }
  });
  return form;
}
