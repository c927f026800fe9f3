// A page of the report without a browser: facts in, texts of the opened cell out. Arguments: explorer.js, facts.json.
"use strict";
const fs = require("fs");
const [script, facts] = process.argv.slice(2);

class Element {
  constructor(kind) { Object.assign(this, { kind, attributes: {}, children: [], dataset: {}, heard: {}, text: "" }); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  getAttribute(name) { return this.attributes[name] ?? "0"; }
  append(...made) { this.children.push(...made); }
  addEventListener(name, call) { this.heard[name] = call; }
  get textContent() { return this.text + this.children.map((child) => child.textContent).join(" "); }
  set textContent(value) { this.text = value; this.children = []; }
  querySelectorAll() { return cells; }
  all(kind) { return [this, ...this.children.flatMap((child) => child.all(""))].filter((one) => !kind || one.kind === kind); }
}

const text = fs.readFileSync(facts, "utf-8");
const count = JSON.parse(text).cells.length;
const cells = Array.from({ length: count }, () => new Element("rect"));
const known = Object.fromEntries(["map", "chosen", "scale", "readout", "detail", "observable", "facts"].map((id) => [id, new Element(id)]));
known.facts.textContent = text;
global.document = {
  getElementById: (id) => known[id],
  createElement: (kind) => new Element(kind),
  createElementNS: (_, kind) => new Element(kind),
};
eval(fs.readFileSync(script, "utf-8"));
cells[0].heard.click();
const texts = known.detail.all("text").map((one) => ({ text: one.textContent, y: Number(one.attributes.y) }));
const paragraphs = known.detail.all("p").map((one) => one.textContent);
console.log(JSON.stringify({ texts, paragraphs }));
