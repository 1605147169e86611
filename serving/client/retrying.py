"""Trying again when a server has no time, with longer and longer pauses."""

import random
from typing import Final

from serving.errors import Code, ServingError

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
OTHER_SHAPES: Final = "from different tasks have different shapes"
"""TF Serving put the request into one batch with somebody else's, of another shape. Alone it may do well."""


class Pauses:
    """The pauses before the next tries of one request; at most ``tries`` of it in all.

    A pause is a random part (at least half) of a length that doubles each time, so that clients that were refused
    together do not come back together.
    """

    def __init__(self, tries: int):
        self.left, self._length, self._alone = tries - 1, FIRST_PAUSE, False

    def after(self, error: ServingError) -> float:
        """Seconds to wait.

        Raises:
            ServingError: ``error`` itself, if it is of a kind that stays, or was the last one.
        """
        alone = OTHER_SHAPES in error.message and not self._alone
        if not (alone or error.code is Code.UNAVAILABLE) or self.left <= 0:
            raise error
        self._alone = self._alone or alone
        self.left -= 1
        pause, self._length = self._length * random.uniform(0.5, 1.0), min(2 * self._length, LONGEST_PAUSE)
        return pause
