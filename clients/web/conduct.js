// How the avatar behaves: where it looks, how lively it is, whether its head moves. Told again after a reconnect.

import { GazeControl } from "./gaze.js";

export class ConductPanel {
  // elements: eyes, intensity, intensityValue, head, screen, target; send(message) gives it to the server.
  constructor(elements, send) {
    this.elements = elements;
    this.send = send;
    this.live = false;
    this.gaze = new GazeControl(elements.screen, elements.target, (direction) =>
      this.#say(direction ? { type: "gaze", ...direction } : { type: "look", at: "free" }),
    );
    elements.eyes.addEventListener("change", () => this.#eyes());
    elements.intensity.addEventListener("input", () => this.#intensity());
    elements.head.addEventListener("change", () => this.#head());
  }

  // The connection can be spoken over now: say everything that is not as it is by itself.
  begin() {
    this.live = true;
    this.#eyes();
    if (this.#share() < 1) this.#intensity();
    if (!this.elements.head.checked) this.#head();
  }

  end() {
    this.live = false;
    this.gaze.enable(false);
  }

  #eyes() {
    const choice = this.elements.eyes.querySelector("input:checked").value;
    this.gaze.enable(this.live && choice === "follow");
    if (choice !== "follow") this.#say({ type: "look", at: choice });
  }

  #intensity() {
    this.elements.intensityValue.textContent = `${Math.round(100 * this.#share())} %`;
    this.#say({ type: "intensity", value: this.#share() });
  }

  #head() {
    this.#say({ type: "pose", on: this.elements.head.checked });
  }

  #share() {
    return Number(this.elements.intensity.value) / 100;
  }

  #say(message) {
    if (this.live) this.send(message);
  }
}
