// Index sets of the face mesh, as engine/animator/mesh/topology.py has them; a test compares the two.

export const FACE_POINTS = 468;
export const LASH_VERTICES = 14;

export const FACE_OVAL = [
  10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
  152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
];

// Contours run from image left to image right and share their corners.
export const MOUTH_UPPER = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308];
export const MOUTH_LOWER = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308];
export const CHIN = [152, 148, 377, 175, 199, 200];

// At image left and right. The crease and the lashes have one point for each inner point of the upper lid.
export const EYES = [
  {
    upper: [33, 246, 161, 160, 159, 158, 157, 173, 133],
    lower: [33, 7, 163, 144, 145, 153, 154, 155, 133],
    crease: [247, 30, 29, 27, 28, 56, 190],
    lashes: [468, 469, 470, 471, 472, 473, 474],
  },
  {
    upper: [362, 398, 384, 385, 386, 387, 388, 466, 263],
    lower: [362, 382, 381, 380, 374, 373, 390, 249, 263],
    crease: [414, 286, 258, 257, 259, 260, 467],
    lashes: [475, 476, 477, 478, 479, 480, 481],
  },
];
