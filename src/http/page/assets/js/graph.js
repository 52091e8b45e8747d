// Where the boxes and lines of a graph without circles go.
//
//   layout(nodes, { box, gap, upright }) → { width, height, boxes, lines }
//
// `nodes` is [{ name, after: [names] }]. Every box stands one layer behind the last of those it comes after; a line that passes layers gets
// a place in each of them, so it never runs through a box. Within a layer the order is chosen so that few lines cross (each stands near the
// middle of its neighbours, a few times over). All lines into a box meet before it and go the last stretch, the trunk, together: there the
// page writes what is known about the step. `upright` lays the layers below each other instead of beside each other.
//
// Pure: numbers in, numbers out. The same definition always gives the same picture.

const SWEEPS = 6;
const LANE = 18;

export function layout(nodes, { box, gap, upright }) {
  const made = build(nodes);
  order(made.layers);
  place(made, upright ? box.width : box.height, gap.across);
  return measure(made, box, gap, upright);
}

// Layers of places: a place is a box, or where a line passes.
function build(nodes) {
  const depth = new Map();
  const known = new Map(nodes.map((node) => [node.name, node]));
  const deep = (name) => {
    if (!depth.has(name)) {
      const after = known.get(name).after.filter((it) => known.has(it));
      depth.set(name, after.length === 0 ? 0 : 1 + Math.max(...after.map(deep)));
    }
    return depth.get(name);
  };
  const places = new Map();
  const layers = [];
  const put = (at, name) => {
    const made = { name, layer: at, before: [], behind: [], at: 0 };
    (layers[at] ??= []).push(made);
    return made;
  };
  for (const node of nodes) places.set(node.name, put(deep(node.name), node.name));
  const lines = [];
  for (const node of nodes) {
    const end = places.get(node.name);
    for (const name of node.after.filter((it) => known.has(it))) {
      const way = [places.get(name)];
      for (let at = way[0].layer + 1; at < end.layer; at += 1) way.push(put(at, null));
      way.push(end);
      for (let at = 1; at < way.length; at += 1) {
        way[at].before.push(way[at - 1]);
        way[at - 1].behind.push(way[at]);
      }
      lines.push({ from: name, to: node.name, way });
    }
  }
  return { layers, lines, places };
}

function order(layers) {
  const number = () => layers.forEach((layer) => layer.forEach((it, at) => (it.at = at)));
  number();
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const layer of down ? layers : [...layers].reverse()) {
      const middle = new Map(layer.map((it) => [it, mean(down ? it.before : it.behind, it.at)]));
      layer.sort((a, b) => middle.get(a) - middle.get(b) || a.at - b.at);
      layer.forEach((it, at) => (it.at = at));
    }
  }
}

const mean = (places, otherwise) =>
  places.length === 0 ? otherwise : places.reduce((sum, it) => sum + it.at, 0) / places.length;

// Gives every place a middle across its layer: near its neighbours, and never too near to the next.
function place({ layers }, size, gap) {
  const half = (it) => (it.name === null ? LANE : size) / 2;
  const apart = (a, b) => half(a) + half(b) + gap;
  for (const layer of layers) {
    let edge = 0;
    layer.forEach((it, at) => {
      it.at = at === 0 ? half(it) : edge + apart(layer[at - 1], it);
      edge = it.at;
    });
    const shift = edge / 2;
    for (const it of layer) it.at -= shift;
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const layer of sweep % 2 === 0 ? layers : [...layers].reverse()) {
      const wanted = layer.map((it) => mean([...it.before, ...it.behind], it.at));
      const low = [];
      const high = [];
      layer.forEach((it, at) => (low[at] = at === 0 ? wanted[at] : Math.max(wanted[at], low[at - 1] + apart(layer[at - 1], it))));
      for (let at = layer.length - 1; at >= 0; at -= 1) {
        high[at] = at === layer.length - 1 ? wanted[at] : Math.min(wanted[at], high[at + 1] - apart(layer[at], layer[at + 1]));
      }
      layer.forEach((it, at) => (it.at = (low[at] + high[at]) / 2));
    }
  }
}

function measure({ layers, lines, places }, box, gap, upright) {
  const all = layers.flat();
  const size = upright ? box.width : box.height;
  const half = (it) => (it.name === null ? LANE : size) / 2;
  const least = Math.min(...all.map((it) => it.at - half(it)));
  const most = Math.max(...all.map((it) => it.at + half(it)));
  const thick = upright ? box.height : box.width;
  const step = thick + gap.along;
  // The trunk before the first layer has its figures, too.
  const along = (layer) => gap.first + layer * step;
  const across = (it) => it.at - least;
  const point = (a, c) => (upright ? [c, a] : [a, c]);
  const boxes = [...places.values()].map((it) => {
    const [x, y] = point(along(it.layer), across(it) - size / 2);
    const [fromX, fromY] = point(along(it.layer) - gap.trunk, across(it));
    const [toX, toY] = point(along(it.layer), across(it));
    return { name: it.name, x, y, trunk: { from: [fromX, fromY], to: [toX, toY] } };
  });
  const drawn = lines.map(({ from, to, way }) => {
    const points = [point(along(way[0].layer) + thick, across(way[0]))];
    for (const it of way.slice(1, -1)) points.push(point(along(it.layer), across(it)), point(along(it.layer) + thick, across(it)));
    const end = way[way.length - 1];
    points.push(point(along(end.layer) - gap.trunk, across(end)));
    return { from, to, path: curve(points, upright) };
  });
  const long = gap.first + layers.length * step - gap.along;
  const wide = most - least;
  return { width: upright ? wide : long, height: upright ? long : wide, boxes, lines: drawn };
}

function curve(points, upright) {
  const [first, ...rest] = points;
  let [x, y] = first;
  let path = `M${round(x)} ${round(y)}`;
  for (const [toX, toY] of rest) {
    const middle = upright ? (y + toY) / 2 : (x + toX) / 2;
    path += upright
      ? ` C${round(x)} ${round(middle)} ${round(toX)} ${round(middle)} ${round(toX)} ${round(toY)}`
      : ` C${round(middle)} ${round(y)} ${round(middle)} ${round(toY)} ${round(toX)} ${round(toY)}`;
    [x, y] = [toX, toY];
  }
  return path;
}

const round = (number) => Math.round(number * 10) / 10;
