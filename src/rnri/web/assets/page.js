// The page: its state, its requests to the server, and their order. The newest request wins.

const PAUSE = 150, SETTLE = 700, RETRY = 1000, BEAT = 4000, HISTORY = 40, PATIENCE = 60;
const HANDLERS = ["hello", "invert", "progress", "edit", "several", "download"];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes)).replace(/\W/g, "x");
}

class Page {
  constructor(root) {
    this.at = (name) => root.querySelector(`[data-at="${name}"]`);
    this.root = root;
    this.server = requests(HANDLERS, () => this.facts?.patience ?? PATIENCE);
    this.token = token();
    this.source = null; // { picture, name, prompt, settings, report }, of which `report` is the server's answer
    this.frame = null; // the last edit, the server's answer
    this.history = [];
    this.newest = 0;
    this.editing = this.wanted = false;
    this.stage = new Stage(this.at);
    this.stage.onpaint = () => this.showCode();
    this.begin();
  }

  // --- requests ---

  // One answer of the server; null if it cannot be reached, which the banner then shows.
  async call(name, data = {}) {
    const reply = await this.server[name]({ ...data, token: this.token });
    this.at("link").textContent = reply.lost ? "offline" : "connected";
    this.root.dataset.link = reply.lost ? "off" : "on";
    if (reply.lost) this.say(reply.lost);
    else if (this.offline) this.say("");
    this.offline = Boolean(reply.lost);
    return reply.lost ? null : reply;
  }

  say(message) {
    this.at("banner").hidden = !message;
    this.at("banner").textContent = message;
  }

  // The same, repeated while the server cannot be reached and `alive` holds.
  async insist(name, data, alive) {
    for (;;) {
      const reply = await this.call(name, data);
      if (reply || !alive()) return reply;
      await sleep(RETRY);
      if (!alive()) return null;
    }
  }

  // --- beginning ---

  async begin() {
    addEventListener("unhandledrejection", (failed) => this.say(`The page failed: ${failed.reason?.message ?? failed.reason}. Load it again.`));
    this.listen();
    this.facts = await this.insist("hello", {}, () => true);
    if (this.facts.error) return this.say(`${this.facts.error} Then load this page again.`);
    this.known = new Set(this.facts.words);
    this.at("model").textContent = this.facts.model;
    this.at("guidance").value = this.facts.guidance;
    this.settings = new Settings(this.at("settings"), this.facts, () => this.source && this.invert());
    this.controls = new Controls(this.at("controls"), this.facts.controls, () => this.drag());
    this.at("examples").replaceChildren(...this.facts.examples.map((each) =>
      tile(each.picture, each.name, () => this.open(each.picture, `${each.name}.png`, each.prompt))));
    this.at("examplesbox").hidden = !this.facts.examples.length;
    this.showDials();
    this.root.dataset.ready = "yes";
    setInterval(() => document.visibilityState === "visible" && !this.busy && this.call("progress"), BEAT);
  }

  // --- inverting ---

  async open(picture, name, prompt = "") {
    const mine = ++this.newest;
    try {
      await this.stage.place(picture);
    } catch {
      return this.say(`${name} is not a picture this browser can show: use PNG, JPEG or WebP.`);
    }
    if (mine !== this.newest) return;
    this.source = { picture, name, prompt, report: null };
    this.frame = null;
    this.say("");
    this.showParts("open");
    this.at("source").value = prompt;
    this.at("target").value = "";
    this.ink();
    await this.invert();
  }

  // Invert the picture with the settings; true once that is done.
  async invert() {
    const mine = ++this.newest, source = this.source, alive = () => mine === this.newest;
    source.settings = this.settings.values();
    source.prompt = this.at("source").value.trim();
    this.editing = this.wanted = false;
    this.watch(mine);
    const reply = await this.insist("invert", { picture: source.picture, prompt: source.prompt, ...source.settings }, alive);
    if (!alive() || !reply) return false;
    this.busy = false;
    this.at("busy").hidden = true;
    if (reply.stale) return false;
    if (reply.missing) { this.say("The server could not store the picture: start it with more --memory."); return false; }
    if (reply.error) { this.say(reply.error); return false; }
    if (reply.ask) {
      this.at("source").focus();
      this.say("Describe the picture, then press Enter.");
      return false;
    }
    this.say("");
    source.report = reply;
    source.prompt = reply.prompt;
    this.at("source").value = reply.prompt;
    this.at("target").disabled = false;
    if (!this.at("target").value.trim()) this.at("target").value = reply.prompt;
    this.showSource();
    this.at("target").focus({ preventScroll: true });
    await this.sample();
    return true;
  }

  // Show the progress of an inversion, until it is done or another takes its place.
  async watch(mine) {
    this.busy = true;
    this.at("busy").hidden = false;
    this.at("busybar").removeAttribute("value");
    this.at("busytext").textContent = "Inverting";
    const { steps, iterations } = this.source.settings;
    const expected = steps * ((parseInt(iterations ?? "2") || 2) + 1); // and a call a step for the reconstruction
    while (this.busy && mine === this.newest) {
      await sleep(200);
      const progress = await this.call("progress");
      if (!this.busy || mine !== this.newest || !progress?.calls) continue;
      this.at("busybar").value = Math.min(0.97, progress.calls / expected);
      this.at("busytext").textContent = `Inverting: ${progress.calls} network calls`;
    }
  }

  // The parts of the page that go with having a picture ("open"), or with having none ("empty").
  showParts(state) {
    this.root.dataset.state = state;
    this.at("empty").hidden = state === "open";
    for (const part of ["frame", "prompts", "tools"]) this.at(part).hidden = state === "empty";
    this.at("side").hidden = state === "empty" || !this.source?.report;
  }

  showSource() {
    const { report } = this.source, strength = this.at("strength");
    this.showParts("open");
    showQuality(this.at("quality"), report);
    showPlot(this.at("plot"), report.residuals);
    showCost(this.at("cost"), report.cost, null);
    strength.min = strength.step = 1 / report.steps;
    this.at("chips").replaceChildren(...report.ideas.map((idea) => make("button", {
      type: "button", className: "rn-chip", textContent: idea.name, title: idea.prompt,
      onclick: () => { this.at("target").value = idea.prompt; this.edit(0); },
    })));
    this.showDials();
    this.ink();
  }

  // --- editing ---

  // The prompt has changed: edit after a pause without further changes.
  edit(pause) {
    this.changed = performance.now();
    this.ink();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.sample(), pause);
  }

  // While a slider is dragged, edit whenever the last edit is done.
  drag() {
    this.changed = performance.now();
    this.showDials();
    clearTimeout(this.timer);
    if (this.editing) this.wanted = true;
    else this.sample();
  }

  // The request of an edit.
  request() {
    return {
      id: this.source.report.id,
      prompts: [this.at("target").value.trim()],
      strength: Number(this.at("strength").value),
      guidance: Number(this.at("guidance").value),
      controls: this.controls.values(),
      name: this.source.name,
    };
  }

  async sample() {
    if (!this.source?.report || !this.at("target").value.trim()) return;
    const mine = ++this.newest, begun = this.changed ?? performance.now(), alive = () => mine === this.newest;
    const request = this.request(), sent = performance.now();
    this.editing = true;
    const reply = await this.insist("edit", request, alive);
    if (!alive()) return;
    this.editing = false;
    if (!reply || reply.stale) return;
    if (reply.missing) return void this.invert(); // the server has forgotten the picture, or is another one
    if (reply.error) return this.say(reply.error);
    await this.stage.show(reply.pictures[0]);
    if (!alive()) return;
    this.say("");
    this.frame = { ...request, ...reply, source: this.source };
    performance.measure("rnri:frame", { start: begun, end: performance.now(), detail: { sent, prompt: request.prompts[0], ...reply.cost } });
    showCost(this.at("cost"), this.source.report.cost, reply.cost);
    this.showCode();
    this.root.dataset.frame = mine;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.remember(), SETTLE);
    if (this.wanted) { this.wanted = false; this.sample(); }
  }

  ink() {
    const target = this.at("target"), unknown = inkWords(this.at("ink"), this.at("source").value, target.value, this.known ?? new Set());
    this.at("words").textContent = unknown.length ? `Not in the model's vocabulary: ${unknown.join(", ")}` : "";
    this.at("ink").scrollTop = target.scrollTop;
    target.style.height = "auto";
    target.style.height = `${target.scrollHeight + 2}px`;
  }

  showDials() {
    const strength = Number(this.at("strength").value), steps = this.source?.report?.steps;
    this.at("strengthout").textContent = steps ? `${Math.round(strength * steps)} of ${steps} steps` : "";
    this.at("guidanceout").textContent = Number(this.at("guidance").value).toFixed(2).replace(/\.?0+$/, "");
  }

  showCode() {
    if (!this.frame) return;
    const masked = this.stage.painted;
    this.at("command").textContent = this.frame.command + (masked ? "\n# for the mask see the Python code below" : "");
    this.at("python").textContent = this.frame.python[masked ? "masked" : "plain"];
    this.at("filemask").hidden = !masked;
  }

  // Drop the requests that are under way.
  halt() {
    ++this.newest;
    this.editing = this.wanted = this.busy = false;
    this.at("busy").hidden = true;
    clearTimeout(this.timer);
    clearTimeout(this.settling);
  }

  // --- history ---

  remember() {
    const last = this.history[this.now], frame = this.frame;
    if (!frame || (last && last.pictures[0] === frame.pictures[0] && last.prompts[0] === frame.prompts[0])) return;
    this.history = [...this.history.slice(-HISTORY + 1), frame];
    this.now = this.history.length - 1;
    this.showHistory();
  }

  showHistory() {
    this.at("historybox").hidden = this.history.length < 2;
    this.at("history").replaceChildren(...this.history.map((frame, n) =>
      make("li", {}, tile(frame.pictures[0], frame.prompts[0], () => this.goBack(n), n === this.now))));
    const list = this.at("history"), current = list.children[this.now];
    if (current) list.scrollLeft = current.offsetLeft - list.clientWidth / 2;
    this.at("undo").disabled = !this.now;
    this.at("onward").disabled = !this.frame;
  }

  async goBack(n) {
    const frame = this.history[n];
    this.halt();
    if (frame.source !== this.source) {
      this.source = frame.source;
      await this.stage.place(this.source.picture);
      this.at("source").value = this.source.prompt;
    }
    this.showSource();
    this.now = n;
    this.frame = frame;
    this.at("target").value = frame.prompts[0];
    this.at("strength").value = frame.strength;
    this.at("guidance").value = frame.guidance;
    this.showDials();
    this.ink();
    await this.stage.show(frame.pictures[0]);
    showCost(this.at("cost"), this.source.report.cost, frame.cost);
    this.showCode();
    this.showHistory();
  }

  // The picture as it is now becomes the one to edit.
  async onward() {
    const name = this.source.name.replace(/(-edited)?\.\w+$/, "-edited.png");
    const picture = this.at("after").toDataURL("image/png"), file = await this.file("image");
    await this.open(file?.data ?? picture, name, this.frame.prompts[0]);
  }

  // --- several at once, and files ---

  async several() {
    const prompts = this.at("several").value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!prompts.length || !this.source?.report) return this.say("Give at least one target, one a line.");
    const mine = this.latest = {}, source = this.source, grid = this.at("grid"), alive = () => mine === this.latest && source === this.source;
    const say = (line) => { this.say(line); grid.replaceChildren(make("p", { className: "rn-refused", textContent: line })); };
    grid.setAttribute("aria-busy", "true");
    const reply = await this.insist("several", { ...this.request(), prompts }, alive);
    if (mine === this.latest) grid.removeAttribute("aria-busy");
    if (!reply || reply.stale || !alive()) return;
    if (reply.missing) return void ((await this.invert()) && this.several());
    if (reply.error) return say(reply.error);
    grid.replaceChildren(...reply.pictures.map((picture, n) =>
      tile(picture, prompts[n], () => { this.at("target").value = prompts[n]; this.edit(0); })));
  }

  // A file that the server makes; null where it does not.
  async file(kind) {
    if (!this.frame) return null;
    const lines = this.at("several").value.split("\n").map((line) => line.trim()).filter(Boolean);
    const prompts = kind === "sheet" ? [...new Set([...this.frame.prompts, ...lines])] : this.frame.prompts;
    const { strength, guidance, controls } = this.frame, source = this.source;
    const request = { id: source.report.id, strength, guidance, controls, prompts, kind, name: source.name, picture: source.picture, mask: this.stage.maskURL() };
    const reply = await this.insist("download", request, () => source === this.source);
    if (reply?.missing) return (await this.invert()) ? this.file(kind) : null;
    if (reply?.error) this.say(reply.error);
    return reply?.data ? reply : null;
  }

  async download(kind) {
    const local = kind === "original" ? this.source.picture : kind === "mask" ? this.stage.maskURL() : null;
    const name = kind === "original" ? this.source.name : "mask.png";
    const file = local ? { data: local, name } : await this.file(kind);
    if (file) make("a", { href: file.data, download: file.name }).click();
  }
}
