"""Which of many equal events are logged, so that a log tells of all kinds and is flooded by none."""


def worth_saying(times: int) -> bool:
    """Whether the event that has happened so often is logged: the first, second, fourth, eighth and so on."""
    return times & (times - 1) == 0
