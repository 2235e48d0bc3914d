// The stage: the picture before and after, the handle between them, and the mask painted over them.

class Stage {
  constructor(at) {
    this.at = at;
    this.edited = null;
    this.painted = false;
    this.mask = at("mask").getContext("2d", { willReadFrequently: true });
    at("split").addEventListener("input", () => this.slide());
    this.listenToBrush();
  }

  // Show a picture as the one before; its edit is gone.
  async place(url) {
    const picture = new Image(), before = this.at("before");
    picture.src = url;
    await picture.decode();
    before.src = url;
    await before.decode();
    const { naturalWidth: width, naturalHeight: height } = before;
    this.at("frame").style.setProperty("--ratio", `${width / height}`);
    const scale = Math.min(1, 1024 / Math.max(width, height));
    const shown = Math.max(scale, 512 / Math.max(width, height));
    for (const name of ["after", "mask"]) {
      this.at(name).width = Math.round(width * shown);
      this.at(name).height = Math.round(height * shown);
    }
    this.edited = null;
    this.painted = false;
    this.compose();
    this.slide();
  }

  async show(url) {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    this.edited = picture;
    this.compose();
  }

  // The edit inside the mask, where one is painted, and the picture before around it.
  compose() {
    const canvas = this.at("after"), pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.globalCompositeOperation = "source-over";
    pen.filter = "none";
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.edited) return pen.drawImage(this.at("before"), 0, 0, canvas.width, canvas.height);
    pen.drawImage(this.edited, 0, 0, canvas.width, canvas.height);
    if (!this.painted) return;
    pen.globalCompositeOperation = "destination-in";
    pen.filter = `blur(${canvas.width / 128}px)`;
    pen.drawImage(this.at("mask"), 0, 0);
    pen.filter = "none";
    pen.globalCompositeOperation = "destination-over";
    pen.drawImage(this.at("before"), 0, 0, canvas.width, canvas.height);
  }

  slide() {
    this.at("frame").style.setProperty("--split", `${this.at("split").value}%`);
  }

  listenToBrush() {
    const canvas = this.at("mask");
    let last = null;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
    };
    const stroke = (event) => {
      const [x, y] = point(event);
      this.mask.globalCompositeOperation = this.at("erase").ariaPressed === "true" ? "destination-out" : "source-over";
      this.mask.strokeStyle = "#fff";
      this.mask.lineCap = "round";
      this.mask.lineWidth = (this.at("brush").value / 100) * canvas.width;
      this.mask.beginPath();
      this.mask.moveTo(...(last || [x, y]));
      this.mask.lineTo(x, y);
      this.mask.stroke();
      last = [x, y];
      this.painted = true;
      this.compose();
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); stroke(event); });
    canvas.addEventListener("pointermove", (event) => last && stroke(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; this.onpaint?.(); });
  }

  clear() {
    this.mask.clearRect(0, 0, this.at("mask").width, this.at("mask").height);
    this.painted = false;
    this.compose();
    this.onpaint?.();
  }

  // The mask as a PNG, white where the picture may change and softened as it is shown; "" where none is painted.
  maskURL() {
    if (!this.painted) return "";
    const canvas = document.createElement("canvas");
    canvas.width = this.at("mask").width;
    canvas.height = this.at("mask").height;
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.filter = `blur(${canvas.width / 128}px)`;
    pen.drawImage(this.at("mask"), 0, 0);
    return canvas.toDataURL("image/png");
  }
}
