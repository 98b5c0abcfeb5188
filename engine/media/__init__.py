"""Audio and video files in, video files out."""

from engine.media._reading import open_input, upright, video_track
from engine.media.audio_file import audio_duration_s, read_audio
from engine.media.media_file import MediaFile
from engine.media.mp4_writer import VIDEO_COMMENT, Mp4Writer
from engine.media.video_file import read_video

__all__ = [
    "VIDEO_COMMENT",
    "MediaFile",
    "Mp4Writer",
    "audio_duration_s",
    "open_input",
    "read_audio",
    "read_video",
    "upright",
    "video_track",
]
