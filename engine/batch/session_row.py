"""What rendering keeps of one session from frame to frame."""

from dataclasses import dataclass

from engine.avatar import Avatar
from engine.motion.descriptor_window import DescriptorWindow
from engine.motion.driver import MotionDriver


@dataclass(slots=True, kw_only=True, eq=False)
class SessionRow:
    """A session in a `BatchRenderer`; only that renderer's thread touches it.

    Attributes:
        seed: of the noise that the motion networks take.
        generate_gaze: whether the gaze network runs for this session.
        animator_finishes: whether the animator labels and watermarks this session's images itself.
        generation: of the newest job.
        index: the row's number in the `MotionBatch`; None before the first job and after the session has left.
        joined: how many sessions had joined before; the newest is dropped first when memory runs out.
        left: the session renders no more.
    """

    avatar: Avatar
    driver: MotionDriver
    window: DescriptorWindow
    seed: int
    generate_gaze: bool
    animator_finishes: bool
    generation: int = 0
    index: int | None = None
    joined: int = 0
    left: bool = False

    def begin(self, generation: int) -> None:
        """Drop the descriptors made ahead and let the mouth close, if ``generation`` is a newer one."""
        if generation > self.generation:
            self.generation = generation
            self.window.drop_ahead()
            self.driver.interrupt()
