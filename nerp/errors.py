"""What can go wrong by a user's hand: one class per station, each message one line.

A message says what was found, what was expected, and what to do about it. The command line
prints it and exits with `exit_code`; the library raises it.
"""


class NerpError(Exception):
    """Base of every error that a user can cause and repair."""

    exit_code = 1


class UsageError(NerpError):
    """The call itself is wrong: an unknown option, value or combination."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key or value that does not exist or does not fit."""


class VolumeError(NerpError):
    """A CT or label file that cannot be read as one."""


class GeometryError(NerpError):
    """Shapes, units, affines or cameras that do not fit together."""


class DataError(NerpError):
    """A folder, index or image set that is not what a command needs."""


class CheckpointError(NerpError):
    """A run or checkpoint that is missing, damaged, or made by other settings."""


class TrainingError(NerpError):
    """Training that cannot go on, such as a loss that is no longer finite."""


class EvaluationError(NerpError):
    """A score that cannot be computed from what was given."""
