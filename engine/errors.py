"""Every error that a user can cause or meet.

    GohdError
    |-- InputError                  what the caller handed in cannot be used
    |   |-- PortraitError
    |   |   |-- ImageUnreadable     not an image, truncated, or a format that needs an extra
    |   |   |-- ImageTooLarge       more bytes or pixels than we decode
    |   |   |-- NoFaceFound
    |   |   |-- FaceTooSmall
    |   |   |-- FaceTurnedAway      a face, but too far from the front
    |   |   `-- FaceCutOff          a face, but the image ends within it
    |   |-- AudioError
    |   |   |-- AudioInvalid        samples of the wrong shape, type or value
    |   |   `-- AudioUnreadable     a file that holds no audio that we can decode
    |   |-- VideoUnreadable
    |   |-- RigUnreadable           a saved rig is damaged or of another version
    |   |-- ManifestUnreadable      the signed note beside a video is damaged or not ours
    |   `-- CommandInvalid          a control value out of its range
    |-- OutputUnwritable            the place to write to is missing, full or forbidden
    |-- WeightsError
    |   |-- WeightsNotFound
    |   |-- WeightsCorrupt          checksum, format version, names or shapes do not match
    |   |-- WeightsIncomplete       the folder lacks a network that is needed
    |   |-- PretrainedNotFound      training or evaluation needs a frozen network that the user brings
    |   `-- CheckpointRefused       a file to import is damaged, unsafe or of another model
    |-- MissingDependency           an optional package is needed; the message has the install line
    |-- BackendUnavailable          the asked device or backend is not on this machine
    |-- DeviceError                 microphone, speaker or camera
    |   |-- DeviceNotFound
    |   |-- DeviceBusy              somebody else holds it
    |   |-- DeviceUnsuitable        it cannot do the sample rate, size or format that is needed
    |   `-- DeviceLost              it was there, and gives or takes nothing any more
    |-- AgentUnreachable            a service that a voice agent needs cannot be reached, or broke off
    |-- NonFiniteLoss               a loss or gradient of a training became NaN or infinite
    |-- CapacityExceeded            no room for another session now
    |   `-- DeviceMemoryExceeded    the device ran out of memory, and this session was dropped
    `-- SessionClosed               the session has ended

Messages say what is wrong and what to do about it.
"""


class GohdError(Exception):
    """Base of every error that this project raises on purpose."""


class InputError(GohdError, ValueError):
    """What the caller handed in cannot be used."""


class PortraitError(InputError):
    """The image cannot become an avatar."""


class ImageUnreadable(PortraitError):
    """Not an image, truncated, or in a format that needs an extra."""


class ImageTooLarge(PortraitError):
    """More bytes or pixels than are decoded."""


class NoFaceFound(PortraitError):
    """The image shows no face that can be found."""


class FaceTooSmall(PortraitError):
    """The face has too few pixels to animate."""


class FaceTurnedAway(PortraitError):
    """The face is turned too far to a side, up or down."""


class FaceCutOff(PortraitError):
    """The image ends within the face."""


class AudioError(InputError):
    """The audio cannot be used."""


class AudioInvalid(AudioError):
    """Samples of the wrong shape, type or value (NaN, infinity)."""


class AudioUnreadable(AudioError):
    """A file that holds no audio that can be decoded."""


class RigUnreadable(InputError):
    """A folder that holds no saved rig that can be read."""


class VideoUnreadable(InputError):
    """A file that holds no video that can be decoded."""


class ManifestUnreadable(InputError):
    """The signed note beside a video is damaged or not ours."""


class CommandInvalid(InputError):
    """A control value (gaze, intensity, seed) out of its range."""


class OutputUnwritable(GohdError, OSError):
    """The place to write to is missing, full or forbidden."""


class WeightsError(GohdError):
    """A weights folder cannot be used."""


class WeightsNotFound(WeightsError, FileNotFoundError):
    """No weights folder of this name or path."""


class WeightsCorrupt(WeightsError):
    """Checksum, format version, names or shapes do not match."""


class WeightsIncomplete(WeightsError):
    """The weights folder lacks a network that is needed; the message says how to get it."""


class PretrainedNotFound(WeightsError, FileNotFoundError):
    """A pretrained network of other people is not in the user's folder; the message says where to get it."""


class CheckpointRefused(WeightsError):
    """A checkpoint file to import is damaged, unsafe or of another model."""


class MissingDependency(GohdError, ImportError):
    """An optional package is needed; the message has its install line."""


class BackendUnavailable(GohdError):
    """The asked device or backend is not on this machine."""


class DeviceError(GohdError, OSError):
    """A microphone, a speaker or a camera cannot be used."""


class DeviceNotFound(DeviceError):
    """No such device; the message names those that are there."""


class DeviceBusy(DeviceError):
    """Another program holds the device."""


class DeviceUnsuitable(DeviceError):
    """The device cannot do the sample rate, size or format that is needed."""


class DeviceLost(DeviceError):
    """The device was there, and gives or takes nothing any more."""


class AgentUnreachable(GohdError, ConnectionError):
    """A service that a voice agent needs cannot be reached, or broke off."""


class NonFiniteLoss(GohdError, ArithmeticError):
    """A loss or gradient of a training became NaN or infinite; the message names the batch."""


class CapacityExceeded(GohdError):
    """No room for another session now."""


class DeviceMemoryExceeded(CapacityExceeded):
    """The device ran out of memory while it made a frame, and this session was dropped for the others."""


class SessionClosed(GohdError):
    """The session has ended."""
