"""The face for voice agents: one speaker, and an adapter for each agent framework, imported only when it is used.

``livekit``, ``pipecat`` and ``realtime`` need the extra of their own name, as ``gohd-live[livekit]``.
"""

from clients.agents.speaker import AvatarChunk, Speaker, load_speaker

__all__ = ["AvatarChunk", "Speaker", "load_speaker"]
