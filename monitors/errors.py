"""What a statistic may refuse. The message says what, what was expected and what was got."""


class MonitorError(ValueError):
    """A statistic refused its input."""


class DesignError(MonitorError):
    """A monitor's design is not usable (sigma of zero, probability outside [0, 1] ...)."""


class NotAssessable(MonitorError):
    """Too few cases, or data missing: a first-class outcome, never a zero or a NaN."""
