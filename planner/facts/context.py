"""Contexts that are planned where nobody says one, in tokens. One that is solved for is a multiple of `units.CONTEXT_STEP`."""

USEFUL_CONTEXT = 32_768  # below this a narrower cache is worth it without being asked for; a further server's, where it has the room
POOLING_CONTEXT = 2048  # a passage of some 1,500 words; a longer text is refused by the server, not cut
