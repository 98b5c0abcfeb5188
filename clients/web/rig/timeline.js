// Descriptors in the order of their media time, and the motion at any moment between two of them.

const KEPT = 64;

export class Timeline {
  #entries = [];

  // Adds a descriptor of 72 numbers at a time in seconds; they may come in any order, and twice.
  push(timeS, descriptor) {
    const entries = this.#entries;
    let place = entries.length;
    while (place > 0 && entries[place - 1].timeS > timeS) place--;
    if (place > 0 && entries[place - 1].timeS === timeS) return;
    entries.splice(place, 0, { timeS, descriptor });
    if (entries.length > KEPT) entries.shift();
  }

  // Forgets all motion.
  clear() {
    this.#entries = [];
  }

  // The motion at a time: between its neighbours in proportion, before the first and after the last those themselves.
  // null while there is none.
  at(timeS) {
    const entries = this.#entries;
    const next = entries.findIndex((entry) => entry.timeS > timeS);
    if (entries.length === 0) return null;
    if (next === -1) return entries.at(-1).descriptor;
    if (next === 0) return entries[0].descriptor;
    const [before, after] = [entries[next - 1], entries[next]];
    const share = (timeS - before.timeS) / (after.timeS - before.timeS);
    return Float32Array.from(before.descriptor, (value, index) => value + share * (after.descriptor[index] - value));
  }
}
