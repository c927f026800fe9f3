"use strict";
// The phase diagram of the report: colours by observable, numbers under the pointer, the net of a chosen cell.
(() => {
  const source = document.getElementById("facts");
  if (!source) return;
  const facts = JSON.parse(source.textContent);
  const map = document.getElementById("map");
  const chosenFrame = document.getElementById("chosen");
  const cells = [...map.querySelectorAll(".cell")];
  const across = facts.x.values.length;
  const state = { observable: 0, chosen: null, point: 0 };

  const SVG = "http://www.w3.org/2000/svg";
  function shape(kind, attributes, text) {
    const made = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function element(kind, text, parent) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }
  function number(value) {
    if (value === null) return "–";
    const size = Math.abs(value);
    const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2) : String(+value.toPrecision(3));
    return text.replace("-", "−");
  }
  const place = (k) =>
    `${facts.x.name} = ${facts.x.values[k % across]}, ${facts.y.name} = ${facts.y.values[Math.floor(k / across)]}`;

  function paint() {
    const shown = facts.observables[state.observable];
    cells.forEach((cell, k) => cell.setAttribute("fill", shown.mean[k] === null ? "#fff" : shown.color[k]));
    document.getElementById("scale").textContent =
      `${number(shown.low)} to ${number(shown.high)}${shown.log ? ", logarithmic" : ""}`;
  }

  function read(k) {
    const readout = document.getElementById("readout");
    readout.textContent = "";
    element("b", place(k), readout);
    element("span", ` (mean ± SEM over ${facts.seeds} seeds)`, readout);
    const body = element("tbody", undefined, element("table", undefined, readout));
    for (const shown of facts.observables) {
      const row = element("tr", undefined, body);
      element("td", shown.words, row);
      element("td", `${number(shown.mean[k])} ± ${number(shown.sem[k])}`, row);
    }
  }

  // between blue, white and orange, for −99 … 99
  function shade(value) {
    const share = Math.min(Math.abs(value) / 99, 1);
    const end = value < 0 ? [0, 90, 156] : [213, 94, 0];
    return `rgb(${end.map((full) => Math.round(255 + (full - 255) * share)).join(",")})`;
  }

  function columnsPicture(net) {
    const count = net.columns.length, rows = count ? net.columns[0].length : 0;
    const left = 92, top = 22, width = Math.min(18, 420 / Math.max(count, 1)), height = 11;
    const picture = shape("svg", { viewBox: `0 0 ${left + 430} ${top + rows * height + 22}`, class: "columns" });
    const directions = facts.directions, components = Math.floor((rows - 1) / directions);
    net.columns.forEach((column, j) => {
      const x = left + j * width;
      picture.append(shape("rect", { x, y: 4, width: width - 0.6, height: 12,
        fill: net.onSample[j] > 0.95 ? "#000" : "#fff", stroke: "#888", "stroke-width": 0.5 }));
      column.forEach((value, i) => {
        const drawn = shape("rect", { x, y: top + i * height, width: width + 0.2, height: height + 0.2, fill: shade(value) });
        drawn.append(shape("title", {}, `${number(value / 99 * net.size)}; cosine to the nearest sample ${number(net.onSample[j])}`));
        picture.append(drawn);
      });
    });
    picture.append(shape("text", { x: left - 6, y: 14, "text-anchor": "end" }, "on a sample"));
    for (let k = 0; k < components; k++) {
      const y = top + k * directions * height, middle = y + (directions / 2 + 0.4) * height;
      picture.append(shape("text", { x: left - 6, y: middle, "text-anchor": "end" }, `component ${k + 1}`));
      picture.append(shape("path", { d: `M${left} ${y}h${count * width}`, stroke: "#888", "stroke-width": 0.6 }));
    }
    const last = top + (rows - 1) * height;
    picture.append(shape("path", { d: `M${left} ${last}h${count * width}`, stroke: "#888", "stroke-width": 0.6 }));
    picture.append(shape("text", { x: left - 6, y: last + 10, "text-anchor": "end" }, "elsewhere"));
    picture.append(shape("text", { x: left, y: last + height + 14 }, `${count} distinct columns`));
    return picture;
  }

  function participation(h) {
    const squares = h.map((value) => value * value);
    const sum = squares.reduce((a, b) => a + b, 0);
    const fourth = squares.reduce((a, b) => a + b * b, 0);
    return fourth > 0 ? (sum * sum) / fourth : null;
  }

  function barsPicture(h, size, words) {
    const left = 92, tall = 64, width = Math.min(18, 420 / Math.max(h.length, 1));
    const picture = shape("svg", { viewBox: `0 0 ${left + 430} ${tall + 22}`, class: "bars" });
    h.forEach((value, j) => {
      const height = (value / 99) * (tall - 6);
      picture.append(shape("rect", { x: left + j * width, y: tall - height, width: width * 0.85, height, fill: "#0072B2" }));
    });
    picture.append(shape("path", { d: `M${left} ${tall}h${Math.max(h.length * width, 20)}`, stroke: "#444" }));
    picture.append(shape("text", { x: left - 6, y: tall, "text-anchor": "end" }, "0"));
    picture.append(shape("text", { x: left - 6, y: 14, "text-anchor": "end" }, `h = ${number(size)}`));
    picture.append(shape("text", { x: left, y: tall + 15 }, `${words}; participation ratio ${number(participation(h))}`));
    return picture;
  }

  function curvePicture(k) {
    const shown = facts.observables[state.observable], row = Math.floor(k / across);
    const left = 60, right = 515, top = 10, bottom = 150;
    const logs = facts.x.values.map(Math.log);
    const x = (i) => left + 10 + ((logs[i] - logs[0]) / (logs[across - 1] - logs[0])) * (right - left - 20);
    const finite = shown.mean.filter((value) => value !== null);
    const scale = shown.log ? Math.log : (value) => value;
    const low = scale(Math.min(...finite)), high = scale(Math.max(...finite));
    const y = (value) => bottom - ((scale(value) - low) / (high - low || 1)) * (bottom - top);
    const picture = shape("svg", { viewBox: "0 0 522 192", class: "curve" });
    const rows = facts.y.values.map((_, r) => r).filter((r) => r !== row);
    for (const r of [...rows, row]) {
      const points = [];
      for (let i = 0; i < across; i++) {
        const value = shown.mean[r * across + i];
        if (value !== null) points.push(`${x(i).toFixed(1)},${y(value).toFixed(1)}`);
      }
      picture.append(shape("polyline", { points: points.join(" "), fill: "none",
        stroke: r === row ? "#0072B2" : "#ccc", "stroke-width": r === row ? 1.8 : 0.8 }));
    }
    for (let i = 0; i < across; i++) {
      const at = row * across + i, value = shown.mean[at], sem = shown.sem[at];
      if (value === null) continue;
      if (sem !== null && (!shown.log || value > sem)) {
        picture.append(shape("path", { d: `M${x(i)} ${y(value - sem)}V${y(value + sem)}`, stroke: "#0072B2" }));
      }
      picture.append(shape("circle", { cx: x(i), cy: y(value), r: at === k ? 6 : 3,
        fill: at === k ? "#D55E00" : "#0072B2" }));
      picture.append(shape("text", { x: x(i), y: bottom + 18, "text-anchor": "middle" }, facts.x.values[i]));
    }
    picture.append(shape("path", { d: `M${left} ${top}V${bottom + 4}H${right}`, stroke: "#444", fill: "none" }));
    picture.append(shape("text", { x: left - 4, y: top + 8, "text-anchor": "end" }, number(Math.max(...finite))));
    picture.append(shape("text", { x: left - 4, y: bottom + 2, "text-anchor": "end" }, number(Math.min(...finite))));
    picture.append(shape("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, facts.x.label));
    return picture;
  }

  function open(k) {
    state.chosen = k;
    for (const side of ["x", "y", "width", "height"]) chosenFrame.setAttribute(side, cells[k].getAttribute(side));
    read(k);
    const detail = document.getElementById("detail");
    detail.textContent = "";
    detail.dataset.cell = k;
    const shown = facts.observables[state.observable];
    element("h3", `${shown.words}, ${facts.y.name} = ${facts.y.values[Math.floor(k / across)]}`, detail);
    detail.append(curvePicture(k));
    const net = facts.cells[k];
    if (!net) return;
    element("h3", `One net of this cell, ${place(k)}: learned columns`, detail);
    element("p", `Columns after merging parallel ones, along the first ${facts.directions} principal directions of each component` +
      " (the first is its mean's), blue negative, orange positive; the last row is what lies elsewhere. Black above: within cosine 0.95 of a" +
      " training sample.", detail);
    detail.append(columnsPicture(net));
    element("h3", "Representations h of noisy points, same order", detail);
    const many = net.train.length;
    const point = state.point % many;
    detail.append(barsPicture(net.train[point], net.trainSize, "a training point"));
    detail.append(barsPicture(net.fresh[point], net.freshSize, "a fresh point"));
    const next = element("button", `another pair (${point + 1} of ${many})`, detail);
    next.type = "button";
    next.addEventListener("click", () => { state.point = (point + 1) % many; open(k); });
  }

  cells.forEach((cell, k) => {
    cell.addEventListener("pointerenter", () => read(k));
    cell.addEventListener("click", () => open(k));
  });
  map.addEventListener("pointerleave", () => { if (state.chosen !== null) read(state.chosen); });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const from = state.chosen ?? 0, down = facts.y.values.length;
    const column = Math.min(Math.max((from % across) + step[0], 0), across - 1);
    const row = Math.min(Math.max(Math.floor(from / across) + step[1], 0), down - 1);
    open(row * across + column);
  });
  document.getElementById("observable").addEventListener("change", (event) => {
    state.observable = Number(event.target.value);
    paint();
    if (state.chosen !== null) open(state.chosen);
  });
  paint();
})();
