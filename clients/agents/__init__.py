"""The face for voice agents: one speaker, and an adapter for each agent framework, imported only when it is used.

``livekit``, ``pipecat`` and ``realtime`` need the extra of their own name, as ``gohd-live[livekit]``.
"""

from __future__ import annotations

from clients.agents.speaker import Moment, Speaker, load_speaker

__all__ = ["Moment", "Speaker", "load_speaker"]
