"""The diffusion process of Eq. 1, as Python floats computed once."""

from __future__ import annotations

import dataclasses
import itertools
import math


@dataclasses.dataclass(frozen=True, slots=True)
class DiffusionSchedule:
    """Noise of each diffusion step n = 0 .. len - 1 (the paper's n = 1 .. N).

    ``betas[n]`` is the variance that step n adds; ``alpha_bars[n]`` the share of the clean signal's variance
    that is left after steps 0..n.
    """

    betas: tuple[float, ...]
    alpha_bars: tuple[float, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if not self.betas or not all(0.0 < beta < 1.0 for beta in self.betas):
            raise ValueError("betas must be numbers between 0 and 1, at least one")
        alpha_bars = tuple(itertools.accumulate((1.0 - beta for beta in self.betas), lambda a, b: a * b))
        object.__setattr__(self, "alpha_bars", alpha_bars)

    @classmethod
    def linear(cls, steps: int = 150, beta_first: float = 1e-4, beta_last: float = 0.05) -> DiffusionSchedule:
        """Betas evenly spaced; the defaults are the release's."""
        if steps < 2:
            raise ValueError("a linear schedule needs at least 2 steps")
        width = (beta_last - beta_first) / (steps - 1)
        return cls(tuple(beta_first + width * step for step in range(steps)))

    def __len__(self) -> int:
        return len(self.betas)

    def alpha_bar(self, step: float) -> float:
        """alpha_bar of a step; between two steps its logarithm is interpolated, below step 0 it is 1 (no
        noise).

        Raises:
            ValueError: the step lies past the last one.
        """
        if step < 0:
            return 1.0
        low = math.floor(step)
        if step > len(self.betas) - 1:
            raise ValueError(f"step {step} is outside a schedule of {len(self.betas)} steps")
        high = min(low + 1, len(self.betas) - 1)
        share = step - low
        return math.exp((1 - share) * math.log(self.alpha_bars[low]) + share * math.log(self.alpha_bars[high]))

    def subsample(self, count: int, spacing: float = 1.0) -> tuple[float, ...]:
        """``count`` steps in falling order, the noisiest first: n_i = last * (1 - i / count) ** spacing.

        4 of 150 give 149, 111.75, 74.5, 37.25 evenly spaced, and 149, 83.8, 37.25, 9.3 with ``spacing`` 2.

        Raises:
            ValueError: count is not within 1 .. len, or spacing not positive.
        """
        if not 1 <= count <= len(self.betas) or spacing <= 0:
            raise ValueError(f"cannot take {count} steps spaced {spacing} from {len(self.betas)}")
        last = len(self.betas) - 1
        return tuple(last * (1 - index / count) ** spacing for index in range(count))
