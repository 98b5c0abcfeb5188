// The avatar's eyes follow the pointer over the video, or the arrow keys.

const REACH_RAD = { pitch: 0.35, yaw: 0.5 };
const STEP = 0.2;
const INTERVAL_MS = 40;

export class GazeControl {
  // onGaze({pitch, yaw}) at most every 40 ms; onGaze(null) when the eyes are free again.
  constructor(screen, marker, onGaze) {
    this.screen = screen;
    this.marker = marker;
    this.onGaze = onGaze;
    this.enabled = false;
    this.point = { x: 0, y: 0 };
    screen.addEventListener("pointermove", (event) => this.#pointer(event));
    screen.addEventListener("pointerdown", (event) => this.#pointer(event));
    screen.addEventListener("pointerleave", () => this.enabled && this.#look(null));
    screen.addEventListener("keydown", (event) => this.#key(event));
  }

  enable(on) {
    this.enabled = on;
    this.screen.classList.toggle("gaze", on);
    this.screen.tabIndex = on ? 0 : -1;
    this.marker.hidden = true;
    this.point = { x: 0, y: 0 };
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  #pointer(event) {
    if (!this.enabled) return;
    const box = this.screen.getBoundingClientRect();
    this.#look({
      x: clamp((2 * (event.clientX - box.left)) / box.width - 1),
      y: clamp((2 * (event.clientY - box.top)) / box.height - 1),
    });
  }

  #key(event) {
    const moves = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    if (!this.enabled || !(event.key in moves)) return;
    event.preventDefault();
    const [dx, dy] = moves[event.key];
    this.#look({ x: clamp(this.point.x + dx), y: clamp(this.point.y + dy) });
  }

  // Point in [-1, 1]: right and down are positive; null sets the eyes free.
  #look(point) {
    this.point = point ?? { x: 0, y: 0 };
    this.marker.hidden = point === null;
    this.marker.style.left = `${50 + 50 * this.point.x}%`;
    this.marker.style.top = `${50 + 50 * this.point.y}%`;
    this.wanted = point;
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.onGaze(this.wanted && { pitch: -REACH_RAD.pitch * this.wanted.y, yaw: REACH_RAD.yaw * this.wanted.x });
    }, INTERVAL_MS);
  }
}

function clamp(value) {
  return Math.max(-1, Math.min(1, value));
}
