"""H.264 with PyAV: encode frames as they come, remux without touching a packet, probe before anyone sees it."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from schemas.recipe import Encoding

Frames = npt.NDArray[np.uint8]
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
FASTSTART = {"movflags": "+faststart+use_metadata_tags"}


class VideoEncoder:
    """Fragmented mp4 with one H.264 High yuv420p track, BT.709, limited range. Feed frames, then `finish`."""

    def __init__(self, width: int, height: int, fps: int, encoding: Encoding) -> None:
        self.buffer = io.BytesIO()
        self.container = av.open(self.buffer, "w", format="mp4", options=FRAGMENTED)
        self.stream: Any = self.container.add_stream(encoding.codec, rate=Fraction(fps))
        self.stream.width, self.stream.height, self.stream.pix_fmt = width, height, "yuv420p"
        self.stream.options = {
            "preset": encoding.preset, "crf": str(encoding.crf), "profile": "high", "g": str(encoding.gop_size),
            "threads": str(encoding.threads),
        }  # fmt: skip
        context = self.stream.codec_context
        context.thread_count = encoding.threads
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        self.count = 0

    def write(self, frames: Frames) -> None:
        """Encode (n, height, width, 3) uint8 RGB frames."""
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", src_colorspace=Colorspace.ITU709, dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
            )  # fmt: skip
            frame.pts, self.count = self.count, self.count + 1
            frame.time_base = Fraction(1, int(self.stream.codec_context.framerate))
            self.container.mux(self.stream.encode(frame))

    def finish(self) -> bytes:
        self.container.mux(self.stream.encode(None))
        self.container.close()
        return self.buffer.getvalue()


def webp(pixels: Frames) -> bytes:
    """One (height, width, 3) frame as webp."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "webp", quality=85)
    return buffer.getvalue()


def remux(track: bytes, metadata: dict[str, str]) -> bytes:
    """The same packets in a plain mp4, `moov` first. PyAV needs a real file to move it there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        with av.open(io.BytesIO(track)) as source, av.open(str(path), "w", options=FASTSTART) as target:
            target.metadata.update(metadata)
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(source.streams.video[0]):
                if packet.dts is not None:
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


def probe(data: bytes) -> Probe:
    """Decode all of it. Raises `ValueError` for a file with no video track or that does not decode to its end."""
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise ValueError("the file has no video track")
            stream = container.streams.video[0]
            frames = sum(1 for _ in container.decode(stream))
            declared = stream.frames
            context = stream.codec_context
            fps = float(stream.average_rate or 0)
    except av.FFmpegError as error:
        raise ValueError(f"the file does not decode: {error}") from None
    if frames == 0 or (declared and frames != declared):
        raise ValueError(f"the file declares {declared} frames and holds {frames}")
    return Probe(context.width, context.height, frames, frames / fps, fps, context.name, str(context.profile))


def decode(data: bytes) -> Iterator[Frames]:
    """Frames (height, width, 3) uint8 RGB."""
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
