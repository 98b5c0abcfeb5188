// A small curve of the last minute. The number beside it says the same to a screen reader.

const SAMPLES = 60;

export class Graph {
  // canvas: its height shows 0 to data-top, or more where a value is larger.
  constructor(canvas) {
    this.canvas = canvas;
    this.values = [];
  }

  // One value a second; null is a gap.
  add(value) {
    this.values.push(value);
    if (this.values.length > SAMPLES) this.values.shift();
    this.#draw();
  }

  clear() {
    this.values = [];
    this.#draw();
  }

  #draw() {
    const { canvas, values } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const known = values.filter((value) => value !== null);
    const top = Math.max(Number(canvas.dataset.top), ...known);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 1.5 * ratio;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    values.forEach((value, index) => {
      if (value === null) {
        drawing = false;
        return;
      }
      const x = ((index + SAMPLES - values.length) / (SAMPLES - 1)) * width;
      const y = height - ratio - (value / top) * (height - 2 * ratio);
      if (drawing) context.lineTo(x, y);
      else context.moveTo(x, y);
      drawing = true;
    });
    context.stroke();
  }
}
