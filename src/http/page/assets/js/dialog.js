// Questions asked before something is done.
//
//   const answer = await ask({ title, text, fields, confirm, danger, submit })
//
// Opens a modal dialog with fields, a confirming button and one to leave. A field: { name, label, type?: 'text' | 'textarea' | 'select' |
// 'number', options?, value?, required?, hint?, must?: 'the exact text that has to be typed' }. `submit(values)` does it: while it runs
// the buttons wait, when it throws its sentence stands in the dialog and nothing is lost, and when it is done the dialog closes and
// ask() gives what it returned; with `stay` in it, that text is shown and the dialog stays to be read. Leaving gives null.
//
//   who()      the field for the acting person's name, kept for next time (use in `fields`; ask() stores it, and leaves it out where
//              somebody is signed in, whose name it is then)

import { actor, setActor } from './api.js';
import { fill, h } from './dom.js';
import { signedIn } from './session.js';
import { problem } from './show.js';

export const who = () => ({
  name: 'actor',
  label: 'Your name',
  value: actor(),
  hint: 'Goes into the journal beside what you do; kept in this browser.',
});

export const why = (hint = 'Goes into the journal, where the next person reads it.') => ({
  name: 'reason',
  label: 'Reason',
  type: 'textarea',
  required: true,
  hint,
});

export function ask({ title, text, fields = [], confirm, danger, submit, wide }) {
  return new Promise((resolve) => {
    const said = h('div', {});
    const made = fields.filter((field) => field.name !== 'actor' || !signedIn()).map((field) => make(field));
    const yes = h('button', { type: 'submit', class: ['primary', danger && 'danger'] }, confirm);
    const no = h('button', { type: 'button' }, 'Cancel');
    const form = h(
      'form',
      { method: 'dialog', novalidate: true },
      h('h2', { id: 'dialog-title' }, title),
      text && h('div', { class: 'dialog-text' }, text),
      made.map((it) => it.node),
      said,
      h('div', { class: 'dialog-buttons' }, no, yes),
    );
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', class: wide && 'wide' }, form);
    let result = null;

    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const wrong = made.filter((it) => !it.check());
      if (wrong.length > 0) {
        wrong[0].input.focus();
        return;
      }
      const values = Object.fromEntries(made.map((it) => [it.name, it.input.value.trim()]));
      if ('actor' in values) setActor(values.actor);
      yes.disabled = true;
      try {
        result = (await submit(values)) ?? true;
        if (result.stay) {
          fill(said, h('p', { role: 'status' }, result.stay));
          yes.hidden = true;
          no.textContent = 'Close';
          no.focus();
        } else {
          dialog.close();
        }
      } catch (error) {
        fill(said, problem(error));
      } finally {
        yes.disabled = false;
      }
    });
    no.addEventListener('click', () => dialog.close());
    dialog.addEventListener('click', (event) => event.target === dialog && dialog.close());
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
    (made.find((it) => !it.input.value)?.input ?? yes).focus();
  });
}

let made = 0;

function make(field) {
  made += 1;
  const id = `field-${made}`;
  const hint = field.hint && h('p', { class: 'hint', id: `${id}-hint` }, field.hint);
  const wrong = h('p', { class: 'wrong', id: `${id}-wrong`, role: 'alert' });
  const shared = { id, name: field.name, 'aria-describedby': `${field.hint ? `${id}-hint ` : ''}${id}-wrong`, required: field.required };
  const input = control(field, shared);
  const check = () => {
    const value = input.value.trim();
    let text = '';
    if (field.required && value === '') text = `${field.label} is needed.`;
    else if (field.must !== undefined && value !== field.must) text = `Type ${field.must} to go on.`;
    wrong.textContent = text;
    input.setAttribute('aria-invalid', text === '' ? 'false' : 'true');
    return text === '';
  };
  input.addEventListener('input', () => wrong.textContent && check());
  const node = h('div', { class: 'field' }, h('label', { for: id }, field.label), input, hint, wrong);
  return { name: field.name, input, node, check };
}

function control(field, shared) {
  if (field.type === 'textarea') return h('textarea', { ...shared, rows: 2, value: field.value ?? '' });
  if (field.type === 'select') {
    const options = field.options.map((it) => h('option', { value: it.value ?? it }, it.text ?? it));
    return h('select', { ...shared }, options);
  }
  return h('input', { ...shared, type: field.type ?? 'text', value: field.value ?? '', autocomplete: 'off', min: field.min, max: field.max, step: field.step });
}
