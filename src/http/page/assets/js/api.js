// The API, asked from the page.
//
//   await get('/v1/orders', { status: 'stuck' }, signal)   the answer; throws a Problem
//   await post(path, body, { key, signal })                the same; `key` becomes the Idempotency-Key
//   await put(path, body), await remove(path)
//   newKey()                                               a fresh Idempotency-Key: make one per intent, keep it for repeats
//   actor(), setActor(name)                                who acts, sent as X-Escrow-Actor; remembered
//   pages(path, query, of, most, signal)                   every row of a paged list, up to `most`
//
// Every failure is a Problem whose `message` is a sentence for a person: the `detail` of the problem document, or what the network
// did. `status` is 0 when Escrow did not answer at all. An aborted call throws what fetch throws (name 'AbortError'); isAbort() tells.

import { read, write } from './time.js';

const ACTOR = 'escrow.actor';

// Told to the document when Escrow wants a token it was not shown.
export const REFUSED = 'escrow-refused';

export class Problem extends Error {
  constructor(status, code, message, errors = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.errors = errors;
  }
}

export const isAbort = (error) => error?.name === 'AbortError';

export const actor = () => read(ACTOR) ?? '';
export const setActor = (name) => write(ACTOR, name.trim());

export function get(path, query, signal) {
  return call('GET', path + search(query), undefined, { signal });
}

export function post(path, body, options = {}) {
  return call('POST', path, body ?? {}, options);
}

export function put(path, body, options = {}) {
  return call('PUT', path, body ?? {}, options);
}

export function remove(path, options = {}) {
  return call('DELETE', path, undefined, options);
}

// A page served over plain HTTP has no crypto.randomUUID.
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (it) => it.toString(16).padStart(2, '0')).join('');
}

// '?a=1&b=x%2Cy', or '' when nothing is said. Lists are joined with commas.
export function search(query) {
  const given = new URLSearchParams();
  const pairs = query instanceof URLSearchParams ? query.entries() : Object.entries(query ?? {});
  for (const [name, value] of pairs) {
    const text = Array.isArray(value) ? value.join(',') : value;
    if (text !== null && text !== undefined && text !== '') given.append(name, text);
  }
  const text = given.toString();
  return text === '' ? '' : `?${text}`;
}

export const orderPath = (saga, orderId) => `/sagas/${encodeURIComponent(saga)}/orders/${encodeURIComponent(orderId)}`;

export async function pages(path, query, of, most, signal) {
  const all = [];
  let cursor;
  do {
    const page = await get(path, { ...query, limit: Math.min(500, most - all.length), cursor }, signal);
    all.push(...page[of]);
    cursor = page.next_cursor;
  } while (cursor && all.length < most);
  return all;
}

async function call(method, path, body, { key, signal } = {}) {
  const headers = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key) headers['idempotency-key'] = key;
  // No page of another site can send this.
  if (method !== 'GET') headers['x-escrow-page'] = '1';
  // Header values are bytes: a name with other letters goes as UTF-8.
  if (method !== 'GET' && actor()) headers['x-escrow-actor'] = utf8(actor());
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem(0, 'no_answer', 'Escrow does not answer. It may be stopped, or the network is away.');
  }
  const text = await response.text();
  const answer = parse(text);
  if (response.ok) return answer;
  if (response.status === 401) document.dispatchEvent(new Event(REFUSED));
  const said = answer?.detail ?? `Escrow answered ${response.status} ${response.statusText}`.trim();
  throw new Problem(response.status, answer?.code ?? 'unknown', sentence(said), answer?.errors ?? []);
}

function utf8(text) {
  return Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join('');
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
