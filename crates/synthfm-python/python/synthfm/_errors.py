"""What can go wrong. Every exception is a :class:`SynthfmError` and one of Python's own kinds."""


class SynthfmError(Exception):
    """Anything that synthfm could not do. The message says what was wrong, where, and what to do."""


class UsageError(SynthfmError, ValueError):
    """An argument, a prompt or a configuration that cannot be used."""


class FileError(SynthfmError, OSError):
    """The system refused to read or write a file."""


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder that does not exist."""


class FormatError(SynthfmError, ValueError):
    """A file that is damaged, truncated, or of a kind that cannot be read."""


class LimitError(SynthfmError, MemoryError):
    """A file or image that needs more memory than the limit allows, or than there is."""


class ModelError(SynthfmError, ValueError):
    """A model that cannot be found, read, or used."""


class DeviceError(SynthfmError, RuntimeError):
    """A device or a precision that this machine or this build does not have."""


for _kind in list(vars().values()):
    if isinstance(_kind, type):
        _kind.__module__ = "synthfm"
