// The audit trail of one order: any number of entries, newest first, read as they come into sight.
//
// Entries are numbered from 1 without holes, so the place of each is known before it is read: the list has its full length at once, and
// what is scrolled to is fetched in blocks. The message of an entry is fetched when the entry is opened.
//
//   const history = trail(saga, orderId, signal, changed)
//   history.upTo(sequence)   so many there are now
//   history.add(entry)       one came over the live stream
//   history.entries()        those read without a hole up to the newest, oldest first
//   history.node, history.stop()

import { get, isAbort, orderPath } from '../api.js';
import { fill, h } from '../dom.js';
import { copy, empty, number, problem, status, tag, word } from '../show.js';
import { exact, onMode, when } from '../time.js';
import { virtual } from '../virtual.js';

const BLOCK = 100;
const REST_MS = 60;

const KINDS = {
  event: 'info', deadline: 'warn', retry: 'warn', withheld: 'bad', compensation: 'warn', confirmation: 'calm', would_send: 'calm', command: 'ok', late: 'warn', repeated: 'calm', conflict: 'bad',
};

export function trail(saga, orderId, signal, changed) {
  const path = `/v1${orderPath(saga, orderId)}/audit`;
  const known = new Map();
  const asked = new Set();
  const open = new Set();
  const details = new Map();
  let total = 0;
  let first = true;
  let resting = 0;

  const said = h('p', { class: 'soft small' });
  const failed = h('div', {});
  const list = virtual({ label: `Audit trail of order ${orderId}, newest first`, estimate: 41, draw: (index) => draw(total - index) });
  const node = h('div', { class: 'trail' }, said, failed, list.node);

  const fetchBlock = async (block) => {
    if (asked.has(block)) return;
    asked.add(block);
    try {
      const page = await get(path, { cursor: block * BLOCK, limit: BLOCK }, signal);
      for (const entry of page.entries) known.set(entry.sequence, entry);
      fill(failed);
      list.redraw((index) => Math.floor((total - index - 1) / BLOCK) === block);
      changed();
    } catch (error) {
      if (isAbort(error)) return;
      fill(failed, problem(error, () => {
        asked.delete(block);
        fetchBlock(block);
      }));
    }
  };

  // What only flies past is not asked for.
  const fetchSoon = () => {
    clearTimeout(resting);
    resting = setTimeout(() => {
      const blocks = new Set(list.seen().map((index) => total - index).filter((it) => it > 0 && !known.has(it)).map((it) => Math.floor((it - 1) / BLOCK)));
      for (const block of blocks) fetchBlock(block);
    }, REST_MS);
  };

  const draw = (sequence) => {
    const entry = known.get(sequence);
    if (!entry) {
      fetchSoon();
      return h('div', { class: 'entry unread' }, h('span', { class: 'entry-number' }, `#${sequence}`), h('span', { class: 'soft' }, 'reading …'));
    }
    return drawEntry(entry);
  };

  const drawEntry = (entry) => {
    const isOpen = open.has(entry.sequence);
    const more = h('div', { class: 'entry-more', hidden: !isOpen });
    const toggle = h('button', { type: 'button', class: 'quiet small', 'aria-expanded': String(isOpen) }, isOpen ? 'Less' : 'More', h('span', { class: 'hidden' }, ` of entry ${entry.sequence}`));
    toggle.addEventListener('click', () => {
      const next = !open.has(entry.sequence);
      if (next) open.add(entry.sequence);
      else open.delete(entry.sequence);
      more.hidden = !next;
      toggle.setAttribute('aria-expanded', String(next));
      toggle.firstChild.textContent = next ? 'Less' : 'More';
      if (next) drawMore(entry, more);
    });
    if (isOpen) drawMore(entry, more);
    return h(
      'div',
      { class: 'entry' },
      h('span', { class: 'entry-number' }, `#${entry.sequence}`),
      h('span', { class: 'entry-time' }, when(entry.at)),
      h('span', { class: 'entry-kind' }, tag(word(entry.kind), KINDS[entry.kind])),
      h('span', { class: 'entry-body' }, summary(entry)),
      toggle,
      more,
    );
  };

  const drawMore = async (entry, place) => {
    const facts = h('div', {}, about(entry));
    const message = h('div', {}, entry.message && h('p', { class: 'soft' }, 'Reading the message …'));
    fill(place, facts, message);
    if (!entry.message) return;
    try {
      if (!details.has(entry.sequence)) details.set(entry.sequence, await get(`${path}/${entry.sequence}`, {}, signal));
      fill(message, payload(details.get(entry.sequence).payload));
    } catch (error) {
      if (!isAbort(error)) fill(message, problem(error));
    }
  };

  const end = onMode(() => list.redraw());
  return {
    node,
    upTo(sequence) {
      if (sequence <= total) return;
      const more = sequence - total;
      total = sequence;
      // The last block may have been read when it was shorter.
      asked.delete(Math.floor((total - 1) / BLOCK));
      asked.delete(Math.floor((total - more) / BLOCK));
      fill(said, `${number(total)} ${total === 1 ? 'entry' : 'entries'}, newest first. Each holds the hash of the one before it.`);
      if (first) {
        first = false;
        list.count(total);
        // Enough for who touched it and what was sent, of all but very long lives.
        for (let block = Math.floor((total - 1) / BLOCK); block >= 0 && block > (total - 1) / BLOCK - 3; block -= 1) fetchBlock(block);
      } else {
        list.unshift(more);
      }
      if (!known.has(total)) fetchBlock(Math.floor((total - 1) / BLOCK));
      list.node.classList.toggle('short', total < 18);
    },
    add(entry) {
      known.set(entry.sequence, entry);
      this.upTo(entry.sequence);
      changed();
    },
    entries() {
      const found = [];
      for (let at = total; at > 0 && known.has(at); at -= 1) found.push(known.get(at));
      return found.reverse();
    },
    stop() {
      clearTimeout(resting);
      end();
      list.stop();
    },
  };
}

function summary(entry) {
  return [
    entry.name && h('span', { class: 'mono' }, word(entry.name) === entry.name || entry.kind === 'event' ? entry.name : word(entry.name)),
    entry.step && entry.step !== entry.name && h('span', { class: 'soft' }, ' ', h('span', { class: 'mono' }, entry.step)),
    entry.actor && [' by ', h('strong', {}, entry.actor)],
    entry.changes.map((it) => [' ', h('span', { class: 'change' }, h('span', { class: 'mono' }, it.step), ` ${word(it.from)} → `, status(it.to))]),
    entry.order && [' ', h('span', { class: 'change' }, `order ${word(entry.order.from)} → `, status(entry.order.to))],
    entry.migrated && [' ', tag(`version ${entry.migrated.from} → ${entry.migrated.to}`, 'info')],
    entry.inferred && [' ', tag('inferred', 'warn')],
    entry.unproven.map((it) => [' ', tag(`held back: ${it}`, 'warn')]),
    entry.published.length > 0 && [' ', h('span', { class: 'small soft' }, `published ${entry.published.length}`)],
    entry.would_send.length > 0 && [' ', h('span', { class: 'small soft' }, `would send ${entry.would_send.join(', ')}`)],
    entry.reason && h('span', { class: 'small soft break' }, entry.actor ? ` “${entry.reason}”` : ` ${entry.reason}`),
  ];
}

function about(entry) {
  const line = (term, ...body) => h('div', {}, h('dt', {}, term), h('dd', {}, body));
  const { message } = entry;
  return h(
    'dl',
    { class: 'facts' },
    line('At', exact(entry.at), h('p', { class: 'small soft mono' }, entry.at)),
    message && line('Message id', h('span', { class: 'id' }, message.id), ' ', copy(message.id, 'the message id')),
    message && line('From', message.exchange === '' ? 'HTTP' : ['exchange ', h('span', { class: 'mono' }, message.exchange), message.routing_key && [', key ', h('span', { class: 'mono' }, message.routing_key)]]),
    message?.source && line('Source', h('span', { class: 'mono' }, message.source)),
    message?.timestamp && line('The producer’s own time', exact(message.timestamp)),
    entry.published.length > 0 && line('Published', entry.published.map((id) => h('p', { class: 'id small' }, id))),
    line('Hash', h('span', { class: 'id small' }, entry.hash)),
  );
}

function payload(it) {
  if (!it) return empty('The message is not kept', 'It was erased, or is older than what is kept. Its hash stays in the trail.');
  const none = it.body === null && it.body_base64 === null;
  const text = it.body === null ? it.body_base64 : pretty(it.body);
  return [
    h('div', { class: 'row spread' }, h('h3', {}, it.body === null && !none ? 'Body (not text, as base64)' : 'Body'), !none && copy(it.body ?? it.body_base64, 'the body')),
    none ? h('p', { class: 'soft' }, 'It was too large to keep, or was erased; only its hash is here.') : h('pre', { class: 'payload', tabindex: '0', 'aria-label': 'Body of the message' }, text),
    h('details', {}, h('summary', { class: 'small' }, 'Headers and properties'), h('pre', { class: 'payload' }, JSON.stringify(it.envelope, null, 2))),
  ];
}

// Shown readably only where nothing is lost by it: numbers too long for JavaScript stay as they were written.
function pretty(text) {
  try {
    const value = JSON.parse(text);
    return /\d{16,}/.test(text) ? text : JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}
