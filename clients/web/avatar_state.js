// The avatar's state as the user sets it: where it looks, how lively it is, whether its head moves. Sent again after a
// reconnect.

import { GazeControl } from "./gaze.js";

export class AvatarState {
  // elements: eyes, intensity, intensityValue, head, screen, target; send(message) sends it to the server.
  constructor(elements, send) {
    this.elements = elements;
    this.send = send;
    this.live = false;
    this.gaze = new GazeControl(elements.screen, elements.target, (direction) =>
      this.#send(direction ? { type: "gaze", ...direction } : { type: "look", at: "free" }),
    );
    elements.eyes.addEventListener("change", () => this.#eyes());
    elements.intensity.addEventListener("input", () => this.#intensity());
    elements.head.addEventListener("change", () => this.#head());
  }

  // Messages can be sent now: send every setting that is not the server's default.
  begin() {
    this.live = true;
    this.#eyes();
    if (this.#fraction() < 1) this.#intensity();
    if (!this.elements.head.checked) this.#head();
  }

  end() {
    this.live = false;
    this.gaze.enable(false);
  }

  #eyes() {
    const choice = this.elements.eyes.querySelector("input:checked").value;
    this.gaze.enable(this.live && choice === "follow");
    if (choice !== "follow") this.#send({ type: "look", at: choice });
  }

  #intensity() {
    this.elements.intensityValue.textContent = `${Math.round(100 * this.#fraction())} %`;
    this.#send({ type: "intensity", value: this.#fraction() });
  }

  #head() {
    this.#send({ type: "pose", on: this.elements.head.checked });
  }

  #fraction() {
    return Number(this.elements.intensity.value) / 100;
  }

  #send(message) {
    if (this.live) this.send(message);
  }
}
