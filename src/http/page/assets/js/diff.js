// What differs between two texts, line by line.
//
//   diff(before, after) → [{ kind: 'same' | 'gone' | 'new', text, old, now }]     `old` and `now` are line numbers
//
// The longest common lines stay; everything between is gone or new. Lines both begin or end with are set aside first, so that two
// versions of one file are compared in the few places where they differ. Pure.

// Beyond this many pairs of differing lines the middle is shown as gone and new as a whole.
const PAIRS_MAX = 4_000_000;

export function diff(before, after) {
  const a = lines(before);
  const b = lines(after);
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const middle = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const same = (text) => ({ kind: 'same', text });
  const all = [...a.slice(0, head).map(same), ...middle, ...a.slice(a.length - tail).map(same)];
  let old = 0;
  let now = 0;
  return all.map((it) => ({ ...it, old: it.kind === 'new' ? null : (old += 1), now: it.kind === 'gone' ? null : (now += 1) }));
}

function lines(text) {
  const all = text.split('\n');
  if (all[all.length - 1] === '') all.pop();
  return all;
}

function between(a, b) {
  const gone = (text) => ({ kind: 'gone', text });
  const added = (text) => ({ kind: 'new', text });
  if (a.length * b.length > PAIRS_MAX) return [...a.map(gone), ...b.map(added)];
  const wide = b.length + 1;
  // How many lines are common from here to the end.
  const common = new Uint32Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const at = i * wide + j;
      common[at] = a[i] === b[j] ? common[at + wide + 1] + 1 : Math.max(common[at + wide], common[at + 1]);
    }
  }
  const found = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      found.push({ kind: 'same', text: a[i] });
      i += 1;
      j += 1;
    } else if (common[(i + 1) * wide + j] >= common[i * wide + j + 1]) found.push(gone(a[i++]));
    else found.push(added(b[j++]));
  }
  return [...found, ...a.slice(i).map(gone), ...b.slice(j).map(added)];
}
