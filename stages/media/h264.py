"""H.264 with PyAV: encode frames as they come, remux without touching a packet, probe before anyone sees it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from schemas.recipe import Encoding

Frames = npt.NDArray[np.uint8]
CPU_FLAGS = Path("/proc/cpuinfo")
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
FASTSTART = {"movflags": "+faststart+use_metadata_tags"}


class VideoEncoder:
    """Fragmented mp4 with one H.264 High yuv420p track, BT.709, limited range. Feed frames, then `finish`."""

    def __init__(self, width: int, height: int, fps: int, encoding: Encoding) -> None:
        self.buffer = io.BytesIO()
        self.container = av.open(self.buffer, "w", format="mp4", options=FRAGMENTED)
        self.stream = self._add_stream(fps, encoding)
        self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        context = self.stream.codec_context
        context.thread_count = encoding.threads
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        self.reformatter = VideoReformatter()
        self.time_base, self.count = Fraction(1, fps), 0

    def _add_stream(self, fps: int, encoding: Encoding) -> VideoStream:
        options = {
            "preset": encoding.preset, "crf": str(encoding.crf), "profile": "high", "g": str(encoding.gop_size),
            "threads": str(encoding.threads), **same_bits(),
        }  # fmt: skip
        stream = self.container.add_stream(encoding.codec, rate=Fraction(fps), options=options)
        assert isinstance(stream, VideoStream)
        return stream

    def write(self, frames: Frames) -> None:
        """Encode (n, height, width, 3) uint8 RGB frames."""
        for pixels in frames:
            frame = self.reformatter.reformat(
                av.VideoFrame.from_ndarray(pixels, format="rgb24"), format="yuv420p",
                src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
            )  # fmt: skip
            frame.pts, frame.time_base = self.count, self.time_base
            self.count += 1
            self.container.mux(self.stream.encode(frame))

    def finish(self) -> bytes:
        self.container.mux(self.stream.encode(None))
        self.container.close()
        return self.buffer.getvalue()


@cache
def same_bits() -> dict[str, str]:
    """The options that x264 needs to make the same bits of the same frames, whatever it encoded before.

    Its AVX-512 code does not: one clip of 64x64 gave 43 different files in 60 runs with the x264 of PyAV 18.1, and one
    file in 200 runs with AVX2 (or with `mbtree=0`, which would cost quality).
    """
    has_avx512 = CPU_FLAGS.exists() and "avx512f" in CPU_FLAGS.read_text().split()
    return {"x264-params": "asm=avx2"} if has_avx512 else {}


def webp(pixels: Frames) -> bytes:
    """One (height, width, 3) frame as webp."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "webp", quality=85)
    return buffer.getvalue()


@contextmanager
def opened(data: bytes) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A file and its video track. Raises `ValueError` for one without a track, or where reading it fails."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            if not container.streams.video:
                raise ValueError("the file has no video track")
            yield container, container.streams.video[0]
    except av.FFmpegError as error:
        raise ValueError(f"the file does not decode: {error}") from None


def remux(track: bytes, metadata: dict[str, str]) -> bytes:
    """The same packets in a plain mp4, `moov` first, the first frame at 0 s. Raises `ValueError` as `opened` does.

    A fragmented track cannot say that decoding starts before 0, so its frames are late; a plain file can.
    PyAV needs a real file to move `moov` to the front.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with opened(track) as (source, video), av.open(str(path), "w", options=FASTSTART) as target:
            target.metadata.update(metadata)
            stream = target.add_stream_from_template(video)
            late = video.start_time or 0
            for packet in source.demux(video):
                if packet.dts is not None and packet.pts is not None:
                    packet.dts, packet.pts = packet.dts - late, packet.pts - late
                    packet.stream = stream
                    target.mux(packet)
        return path.read_bytes()


@dataclass(frozen=True)
class Probe:
    """What a file really holds. `duration` in seconds."""

    width: int
    height: int
    frames: int
    duration: float
    fps: float
    codec: str
    profile: str


def probe(data: bytes, see: Callable[[int, av.VideoFrame], None] = lambda place, frame: None) -> Probe:
    """Decode all of it; `see` is shown every frame. Raises `ValueError` for a file that does not decode to its end."""
    with opened(data) as (container, stream):
        frames = 0
        for frame in container.decode(stream):
            see(frames, frame)
            frames += 1
        declared, context, fps = stream.frames, stream.codec_context, float(stream.average_rate or 0)
    if frames == 0 or fps == 0 or (declared and frames != declared):
        raise ValueError(f"the file declares {declared} frames at {fps:g} fps and holds {frames}")
    return Probe(context.width, context.height, frames, frames / fps, fps, context.name, str(context.profile))


def decode(data: bytes) -> Iterator[Frames]:
    """Frames (height, width, 3) uint8 RGB. Raises `ValueError` as `opened` does."""
    with opened(data) as (container, stream):
        for frame in container.decode(stream):
            pixels: Frames = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
            yield pixels
