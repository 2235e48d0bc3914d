// Panels: settings from the server's list of inverters, quality, convergence, cost.

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const milliseconds = (seconds) => `${Math.round(1000 * seconds)} ms`;

// A control for a field, as the server describes it.
function fieldControl(field, prefix) {
  let input;
  if (field.choices.length) {
    input = make("select", {}, ...field.choices.map((value) => make("option", { value, textContent: value })));
    input.value = field.default;
  } else if (field.type === "bool" && field.default === null) {
    const answers = [["", "default"], ["true", "yes"], ["false", "no"]];
    input = make("select", {}, ...answers.map(([value, textContent]) => make("option", { value, textContent })));
  } else if (field.type === "bool") input = make("input", { type: "checkbox", checked: field.default });
  else if (field.type === "str") {
    input = make("input", { type: "text", value: field.default ?? "" });
    if (field.pattern) input.pattern = field.pattern.replace(/^\^|\$$/g, "");
  }
  else {
    input = make("input", { type: "number", step: field.type === "int" ? "1" : "any", value: field.default ?? "" });
    if (field.low !== null) input.min = field.low;
    if (field.high !== null) input.max = field.high;
    input.required = field.default !== null;
  }
  input.name = prefix + field.name;
  return make("label", { title: field.about }, make("span", { textContent: field.label ?? field.name }), input);
}

function fieldValue(form, field, prefix) {
  const input = form.elements[prefix + field.name];
  if (field.type === "bool" && field.default === null) return input.value === "" ? null : input.value === "true";
  if (field.type === "bool") return input.checked;
  if (field.choices.length) return input.value;
  if (input.value === "" && field.default === null) return null;
  return field.type === "str" ? input.value : input.value === "" ? null : Number(input.value);
}

// Those of the fields that are not at their defaults.
function changedFields(form, fields, prefix) {
  const values = fields.map((field) => [field.name, fieldValue(form, field, prefix)]);
  return Object.fromEntries(values.filter(([, value], n) => value !== fields[n].default));
}

// The controls of an edit, each with its fields.
class Controls {
  constructor(form, controls, onchange) {
    this.form = form;
    this.controls = controls;
    form.replaceChildren(...controls.map((each) => {
      const fields = make("div", { className: "rn-fields", hidden: true }, ...each.options.map((field) => fieldControl(field, `${each.name}.`)));
      const box = make("input", { type: "checkbox", name: each.name, onchange: () => { fields.hidden = !box.checked; } });
      return make("div", {}, make("label", { title: each.about }, make("span", { textContent: each.name }), box), fields);
    }));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => form.reportValidity() && onchange());
  }

  // Those that are switched on, or "auto" where none is.
  values() {
    const chosen = this.controls.filter((each) => this.form.elements[each.name].checked);
    if (!chosen.length) return "auto";
    return chosen.map((each) => ({ name: each.name, fields: changedFields(this.form, each.options, `${each.name}.`) }));
  }
}

// The settings of an inversion: the inverter with its fields, and the others.
class Settings {
  constructor(form, facts, onchange) {
    this.form = form;
    this.inverters = new Map(facts.inverters.map((inverter) => [inverter.name, inverter]));
    this.fields = make("div", { className: "rn-fields" });
    this.about = make("p", { className: "rn-about" });
    this.common = facts.settings;
    const names = make("select", { name: "inverter" }, ...facts.inverters.map((each) => make("option", { value: each.name, textContent: each.name })));
    names.value = facts.inverter;
    names.addEventListener("change", () => this.choose(names.value));
    form.replaceChildren(
      make("label", {}, make("span", { textContent: "Inverter" }), names), this.about, this.fields,
      ...this.common.map((field) => fieldControl(field, "")),
    );
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => form.reportValidity() && onchange());
    this.choose(facts.inverter);
  }

  choose(name) {
    const inverter = this.inverters.get(name);
    this.about.textContent = inverter.about;
    this.fields.replaceChildren(...inverter.options.map((field) => fieldControl(field, "inverter.")));
  }

  // The inverter with those of its fields that are not at their defaults, and the other settings.
  values() {
    const name = this.form.elements.inverter.value, { options } = this.inverters.get(name);
    const common = this.common.map((field) => [field.name, fieldValue(this.form, field, "")]);
    return { inverter: { name, fields: changedFields(this.form, options, "inverter.") }, ...Object.fromEntries(common) };
  }
}

const STATUSES = { CONVERGED: "converged", FIXED_BUDGET: "fixed budget", MAX_ITER: "not converged", DIVERGED: "diverged", NOT_SOLVED: "not solved" };

function showQuality(box, report) {
  const { psnr_db: psnr, bound_db: bound, status, residual } = report.quality, { nfe, njvp, nvjp, seconds } = report.cost;
  const share = psnr === null || !bound ? 0 : Math.max(0, Math.min(1, psnr / bound));
  const word = status === "DIVERGED" || share < 0.6 ? "poor" : share < 0.85 ? "fair" : "good";
  box.replaceChildren(
    make("div", { className: `rn-verdict rn-${word}` }, make("strong", { textContent: psnr === null ? "–" : `${psnr.toFixed(1)} dB` }),
      make("span", { textContent: `of the autoencoder's ${bound === null ? "–" : bound.toFixed(1)} dB` })),
    make("meter", { min: 0, max: 1, low: 0.6, high: 0.85, optimum: 1, value: share, ariaLabel: "Reconstruction against its bound" }),
    make("p", {}, "Inverter ", make("code", { className: "rn-inverter", textContent: report.inverter })),
    make("p", { title: report.meaning }, make("span", { className: "rn-status", textContent: STATUSES[status] }),
      `, ${(seconds.encode + seconds.invert).toFixed(2)} s, ${nfe + 2 * (njvp + nvjp)} network calls`,
      status === "NOT_SOLVED" ? "" : `, residual ${residual === null ? "not finite" : residual.toPrecision(2)}`),
  );
}

function showCost(line, inversion, edit) {
  const parts = [`encode ${milliseconds(inversion.seconds.encode)}`, `invert ${inversion.nfe} NFE, ${milliseconds(inversion.seconds.invert)}`];
  if (inversion.njvp || inversion.nvjp) parts.push(`${inversion.njvp} JVP, ${inversion.nvjp} VJP`);
  if (edit) parts.push(`edit ${edit.nfe} NFE, ${milliseconds(edit.seconds.edit)}`, `decode ${milliseconds(edit.seconds.decode)}`, `queue ${milliseconds(edit.seconds.wait)}`);
  line.textContent = parts.join(" · ");
}

// Residuals on a logarithmic scale, a band for each step from the picture outwards, a dot for each iteration.
function showPlot(box, steps) {
  const values = steps.flat().filter((value) => value > 0);
  if (!values.length) return box.replaceChildren();
  const width = 320, height = 150, left = 40, right = 6, top = 8, bottom = 24;
  const high = Math.ceil(Math.log10(Math.max(...values))), low = Math.min(Math.floor(Math.log10(Math.min(...values))), high - 1);
  const y = (value) => top + ((high - Math.log10(Math.max(value, 10 ** low))) / (high - low)) * (height - top - bottom);
  const band = (width - left - right) / steps.length;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Residuals of ${steps.length} steps, from ${values[0].toPrecision(2)} to ${values[values.length - 1].toPrecision(2)}` });
  const every = Math.ceil((high - low) / 4);
  for (let power = low; power <= high; power += every) {
    picture.append(svg("line", { x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power), class: "rn-rule" }));
    const label = svg("text", { x: left - 6, y: y(10 ** power) + 3.5, "text-anchor": "end" });
    label.append("10", svg("tspan", { dy: -4, "font-size": 8 }, `${power}`));
    picture.append(label);
  }
  steps.forEach((residuals, k) => {
    const start = left + k * band;
    if (k % 2 === 0) picture.prepend(svg("rect", { x: start, y: top, width: band, height: height - top - bottom, class: "rn-band" }));
    const points = residuals.map((value, n) => [start + ((n + 1) / (residuals.length + 1)) * band, value === null ? top : y(value)]);
    picture.append(svg("polyline", { points: points.map((point) => point.join(",")).join(" "), class: "rn-curve" }));
    points.forEach(([cx, cy], n) => {
      const dot = svg("circle", { cx, cy, r: steps.length > 12 ? 1.6 : 3, class: "rn-dot" });
      dot.append(svg("title", {}, `step ${k + 1}, iteration ${n + 1}: ${residuals[n] === null ? "not finite" : residuals[n].toPrecision(3)}`));
      picture.append(dot);
    });
    if (steps.length <= 12 || k % 5 === 0)
      picture.append(svg("text", { x: start + band / 2, y: height - 9, "text-anchor": "middle" }, `${k + 1}`));
  });
  box.replaceChildren(picture, make("p", { textContent: "Residual of each iteration, step by step from the picture to the noise" }));
}

// A picture and its prompt, as a button.
function tile(picture, text, onclick, current = false) {
  return make("button", { type: "button", className: "rn-tile", onclick, ariaCurrent: current ? "true" : "false", title: text },
    make("img", { src: picture, alt: "", draggable: false }), make("span", { textContent: text }));
}
