"""Uploaded portraits: kept in memory only, a few at a time, gone with the server."""

import secrets
from collections import OrderedDict
from typing import Any

from server.live.messages import Refusal


class PortraitStore:
    """Avatars by unguessable id. Past ``capacity`` the one that was used longest ago goes."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._avatars: OrderedDict[str, Any] = OrderedDict()

    def add(self, avatar: Any) -> str:
        portrait_id = secrets.token_urlsafe(16)
        self._avatars[portrait_id] = avatar
        while len(self._avatars) > self._capacity:
            self._avatars.popitem(last=False)
        return portrait_id

    def get(self, portrait_id: str) -> Any:
        """Raises Refusal ``not_found``."""
        try:
            self._avatars.move_to_end(portrait_id)
        except KeyError:
            raise Refusal("not_found", "That portrait is not here any more: upload it again.") from None
        return self._avatars[portrait_id]
