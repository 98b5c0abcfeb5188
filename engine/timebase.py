"""The one place that ties audio samples, mel columns and video frames together.

samples  |....640....|....640....|....640....|     16 000 a second
columns  |..|..|..|..|..|..|..|..|..|..|..|..|     one every 200 samples, 80 a second
frames   |     0     |     1     |     2     |     25 a second; frame t shows time 640 t
"""

SAMPLE_RATE_HZ = 16_000
FRAME_RATE_HZ = 25
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAME_RATE_HZ
MEL_BANDS = 80
MEL_HOP_SAMPLES = 200
MEL_WINDOW_SAMPLES = 800
MEL_COLUMNS_PER_SECOND = SAMPLE_RATE_HZ // MEL_HOP_SAMPLES


def samples_to_ms(samples: int) -> float:
    """Length of ``samples`` at 16 kHz in milliseconds."""
    return samples * 1000 / SAMPLE_RATE_HZ
