// What the user does: keys, pointers, files and the camera.

const asDataURL = (file) => new Promise((done, failed) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result);
  reader.onerror = () => failed(reader.error);
  reader.readAsDataURL(file);
});

Page.prototype.listen = function () {
  const { at, root } = this;
  const on = (name, event, act) => at(name).addEventListener(event, act);
  on("target", "input", () => this.edit(PAUSE));
  on("target", "scroll", () => { at("ink").scrollTop = at("target").scrollTop; });
  on("target", "keydown", (event) => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); this.edit(0); } });
  on("source", "change", () => this.source && at("source").value.trim() !== this.source.prompt && this.invert());
  on("source", "input", () => this.ink());
  for (const dial of ["strength", "guidance"]) on(dial, "input", () => this.drag());
  on("undo", "click", () => this.goBack(this.now - 1));
  on("onward", "click", () => this.onward());
  on("another", "click", () => this.showEmpty());
  on("runseveral", "click", () => this.several());
  on("theme", "click", () => document.body.classList.toggle("dark"));
  for (const button of root.querySelectorAll("[data-file]")) button.addEventListener("click", () => this.download(button.dataset.file));
  for (const button of root.querySelectorAll("[data-copy]")) button.addEventListener("click", () => this.copy(button));
  addEventListener("resize", () => this.ink());
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input[type=text], textarea");
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typing && this.now > 0) { event.preventDefault(); this.goBack(this.now - 1); }
  });
  this.listenToFiles();
  this.listenToPaint();
  this.listenToCamera();
};

Page.prototype.copy = async function (button) {
  const code = this.at(button.dataset.copy);
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

Page.prototype.showEmpty = function () {
  this.halt();
  this.showParts("empty");
  this.at("choose").focus();
};

Page.prototype.take = async function (file) {
  if (!file) return;
  if (!this.facts) return this.say("The server has not answered yet.");
  if (file.size > this.facts.bytes) return this.say(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB: scale it down below ${(this.facts.bytes / 1e6).toFixed(0)} MB.`);
  await this.open(await asDataURL(file), file.name || "picture.png");
};

Page.prototype.listenToFiles = function () {
  const { at, root } = this, stage = at("stage");
  at("choose").addEventListener("click", () => at("file").click());
  at("file").addEventListener("change", () => { this.take(at("file").files[0]); at("file").value = ""; });
  for (const event of ["dragenter", "dragover"]) root.addEventListener(event, (drag) => { drag.preventDefault(); stage.classList.add("rn-over"); });
  for (const event of ["dragleave", "drop"]) root.addEventListener(event, (drag) => { drag.preventDefault(); stage.classList.remove("rn-over"); });
  root.addEventListener("drop", (drop) => this.take([...drop.dataTransfer.files].find((file) => file.type.startsWith("image/"))));
  document.addEventListener("paste", (paste) => {
    const file = [...paste.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) { paste.preventDefault(); this.take(file); }
  });
};

Page.prototype.listenToPaint = function () {
  const { at } = this;
  const toggle = (name, act) => at(name).addEventListener("click", () => {
    const on = at(name).ariaPressed !== "true";
    at(name).ariaPressed = String(on);
    act?.(on);
  });
  toggle("paint", (on) => { at("paintbox").hidden = at("mask").hidden = !on; });
  toggle("erase");
  at("clear").addEventListener("click", () => this.stage.clear());
};

Page.prototype.listenToCamera = function () {
  const { at } = this;
  let stream = null;
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    at("cameraview").hidden = true;
  };
  at("camera").addEventListener("click", async () => {
    if (!navigator.mediaDevices) return this.say("This browser gives the camera only to pages on https or on localhost.");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      return this.say(`The camera cannot be used: ${error.message}`);
    }
    at("video").srcObject = stream;
    at("snap").disabled = true;  // until there is a picture to take
    at("cameraview").hidden = false;
    await at("video").play();
    at("snap").disabled = false;
    at("snap").focus();
  });
  at("nosnap").addEventListener("click", stop);
  at("snap").addEventListener("click", async () => {
    const video = at("video"), side = Math.min(video.videoWidth, video.videoHeight);
    const canvas = make("canvas", { width: side, height: side });
    canvas.getContext("2d").drawImage(video, (video.videoWidth - side) / 2, (video.videoHeight - side) / 2, side, side, 0, 0, side, side);
    stop();
    await this.open(canvas.toDataURL("image/png"), "camera.png");
  });
};
