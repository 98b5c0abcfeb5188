// Choosing a face: the demo one, or the user's own image, chosen or dropped, with consent.

import { uploadPortrait } from "./server.js";

const MAX_BYTES = 16 * 2 ** 20;

export class PortraitPicker {
  // elements: by id of the page; onChange(url of the face to show); onProblem(text)
  constructor(elements, onChange, onProblem) {
    this.elements = elements;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.file = null;
    this.portraitId = null;
    const { faces, ownCard, file, choose } = elements;
    faces.addEventListener("change", (event) => event.target.name === "face" && this.#chosen());
    choose.addEventListener("click", () => file.click());
    ownCard.addEventListener("click", () => this.file === null && file.click());
    file.addEventListener("change", () => file.files.length > 0 && this.#take(file.files[0]));
    for (const type of ["dragover", "dragleave", "drop"]) {
      document.addEventListener(type, (event) => this.#drag(event));
    }
  }

  get own() {
    return this.elements.faces.querySelector("input[name=face]:checked").value === "own";
  }

  // The portrait's id; null is the demo face. Uploads once; errors have messages for the user.
  async identify() {
    if (!this.own) return null;
    if (this.file === null) throw new Error("Choose an image first, or take the demo face.");
    if (!this.elements.consent.checked) throw new Error("Please confirm that you have the right to use this image.");
    if (this.portraitId === null) {
      const { portraitId, warnings } = await uploadPortrait(this.file);
      this.portraitId = portraitId;
      if (warnings.length > 0) this.onProblem(`About your image: ${warnings.join(". ")}.`);
    }
    return this.portraitId;
  }

  // The server no longer has the image: upload it again next time.
  forget() {
    this.portraitId = null;
  }

  #chosen() {
    this.elements.options.hidden = !this.own;
    this.onChange(this.own && this.url ? this.url : "/demo/portrait");
  }

  #drag(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    const inside = event.type === "dragover" && !this.elements.faces.disabled;
    this.elements.ownCard.classList.toggle("over", inside);
    if (event.type === "drop" && event.dataTransfer.files.length > 0 && !this.elements.faces.disabled) {
      this.#take(event.dataTransfer.files[0]);
    }
  }

  #take(file) {
    if (file.size > MAX_BYTES) {
      this.onProblem("That image is larger than 16 MiB. Choose a smaller one.");
      return;
    }
    if (this.url) URL.revokeObjectURL(this.url);
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.portraitId = null;
    const { thumb, name, hint, consent, faces } = this.elements;
    thumb.src = this.url;
    name.textContent = file.name;
    hint.textContent = "Drop another to change it";
    consent.checked = false;
    faces.querySelector("input[value=own]").checked = true;
    this.onProblem(null);
    this.#chosen();
  }
}
