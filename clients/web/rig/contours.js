// Lids and lips as curves, and their height in each column of the canvas; see engine/animator/mesh/cpu_renderer.py.

const CURVE_STEPS = 4;

// A smooth curve (uniform Catmull-Rom) through points [x, y]; its ends are continued straight on.
export function curve(points) {
  const mirrored = (end, next) => [2 * end[0] - next[0], 2 * end[1] - next[1]];
  const all = [mirrored(points[0], points[1]), ...points, mirrored(points.at(-1), points.at(-2))];
  const found = [];
  for (let segment = 0; segment < points.length - 1; segment++) {
    const [before, start, stop, after] = all.slice(segment, segment + 4);
    for (let step = 0; step < CURVE_STEPS; step++) {
      const t = step / CURVE_STEPS;
      found.push([0, 1].map((axis) => 0.5 * (
        2 * start[axis] + (stop[axis] - before[axis]) * t
        + (2 * before[axis] - 5 * start[axis] + 4 * stop[axis] - after[axis]) * t ** 2
        + (3 * start[axis] - before[axis] - 3 * stop[axis] + after[axis]) * t ** 3
      )));
    }
  }
  return [...found, points.at(-1)];
}

// Writes y of the upper and the lower curve, in turns, for columns 0 to `columns` - 1.
export function writeEdges(upper, lower, columns, edges) {
  for (const [side, contour] of [upper, lower].entries()) {
    let next = 1;
    let reach = contour[0][0];
    for (let x = 0; x < columns; x++) {
      // A contour that doubles back (extreme roll) is read as a vertical step.
      while (next < contour.length && x >= Math.max(contour[next][0], reach)) reach = Math.max(contour[next++][0], reach);
      let y = contour.at(-1)[1];
      if (x <= contour[0][0]) {
        y = contour[0][1];
      } else if (next < contour.length) {
        const share = (x - reach) / (contour[next][0] - reach);
        y = contour[next - 1][1] + share * (contour[next][1] - contour[next - 1][1]);
      }
      edges[2 * x + side] = y;
    }
  }
}

// Smallest box {left, top, right, bottom} of whole pixels around curves with a margin, inside the canvas.
export function boxAround(curves, margin, size) {
  const points = curves.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  const inside = (value) => Math.max(0, Math.min(size, value));
  return {
    left: inside(Math.floor(Math.min(...xs) - margin)),
    top: inside(Math.floor(Math.min(...ys) - margin)),
    right: inside(Math.ceil(Math.max(...xs) + margin) + 1),
    bottom: inside(Math.ceil(Math.max(...ys) + margin) + 1),
  };
}
