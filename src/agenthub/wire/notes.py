"""What was worked out of bytes, kept for when the same bytes come again."""

from msgspec import Struct


class Notes(Struct, eq=False, gc=False):
    """Shared by all that was read of equal bytes; of no meaning to who reads them."""

    of_door: object = None
    """A door's. It refers to none of those who share it."""
