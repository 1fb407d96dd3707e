"""The track that decode gives and the file that mux finishes: what a player relies on."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

from schemas.bundle import read_bundles
from schemas.errors import Bug
from schemas.events.prompts import PromptSubmitted
from schemas.events.tasks import Task
from schemas.limits import recipe_of
from schemas.recipe import Encoding, Recipe
from schemas.stage import Stage
from stages.decode import encode_chunks
from stages.execution.in_process import Undisturbed
from stages.media.h264 import Frames, VideoEncoder, decode, opened, probe, remux
from stages.media.spritesheet import Spritesheet, spread
from stages.mux import Mux

COLOURS = {"red": (225, 30, 30), "green": (30, 180, 50), "blue": (35, 60, 225), "purple": (160, 40, 200)}
BOX_HEADER = 8


def recipe(frames: int = 17) -> Recipe:
    bundles = read_bundles([Path("bundles/tiny")])
    return recipe_of(PromptSubmitted(prompt="a", num_frames=frames, seed=5), "video_test", bundles, "tiny")


def moving(frames: int = 17) -> Frames:
    """A noisy square over a gradient, so that packets differ: (frames, 64, 64, 3)."""
    y, x = np.mgrid[0:64, 0:64]
    clip = np.stack([np.stack([4 * x, 4 * y, 255 - 4 * x], -1)] * frames).astype(np.uint8)
    random = np.random.default_rng(0)
    for place in range(frames):
        clip[place, 20:40, place : place + 20] = random.integers(0, 256, (20, 20, 3))
    return clip


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """Track and poster, from chunks of 1 and then 4 frames as the VAE gives them."""
    bounds = [0, *range(1, 18, 4)]
    chunks = (moving()[start:end] for start, end in itertools.pairwise(bounds))
    track, poster, count = encode_chunks(chunks, recipe(), Undisturbed())
    assert count == 17
    return {"track": track, "poster": poster}


def task(asked: Recipe) -> Task:
    return Task(
        incarnation="i", lease=1, job="video_test", tenant="t", stage=Stage.MUX, key="k", recipe=asked, attempt=1
    )


@pytest.fixture(scope="module")
def video(made: dict[str, bytes]) -> bytes:
    return Mux().run(task(recipe()), made, Undisturbed()).objects[0].data


def boxes(data: bytes) -> Iterator[str]:
    place = 0
    while place < len(data):
        yield data[place + 4 : place + BOX_HEADER].decode()
        place += int.from_bytes(data[place : place + 4], "big")


def packets(data: bytes) -> list[bytes]:
    with opened(data) as (container, stream):
        return [bytes(packet) for packet in container.demux(stream) if packet.dts is not None]


@pytest.mark.parametrize("name", ["track", "video"])
def test_both_are_h264_high_tagged_bt709_limited_range(name: str, made: dict[str, bytes], video: bytes) -> None:
    with opened(made["track"] if name == "track" else video) as (_, stream):
        context = stream.codec_context
        assert (context.name, context.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert context.color_primaries == ColorPrimaries.BT709
        assert context.color_trc == ColorTrc.BT709
        assert context.colorspace == Colorspace.ITU709
        assert context.color_range == ColorRange.MPEG


def test_the_container_repeats_the_colour_tags(video: bytes) -> None:
    """Players that look at the container alone read `colr`: nclx, primaries 1, transfer 1, matrix 1, limited."""
    place = video.index(b"colrnclx") + len(b"colrnclx")
    assert video[place : place + 7] == bytes([0, 1, 0, 1, 0, 1, 0])


def test_moov_comes_before_mdat(video: bytes) -> None:
    order = list(boxes(video))
    assert order[0] == "ftyp"
    assert order.index("moov") < order.index("mdat")
    assert "moof" not in order


def test_mux_copies_every_packet(made: dict[str, bytes], video: bytes) -> None:
    assert packets(video) == packets(made["track"])
    assert len(packets(video)) == 17


def test_the_first_frame_is_shown_at_once_and_the_last_as_long_as_the_others(video: bytes) -> None:
    asked = recipe()
    with opened(video) as (container, stream):
        assert stream.time_base is not None
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream) if frame.pts is not None]
        assert times == [place / asked.fps for place in range(17)]
        assert float((stream.duration or 0) * stream.time_base) == asked.seconds
    found = probe(video)
    assert (found.width, found.height, found.frames, found.fps, found.duration) == (64, 64, 17, 8.0, asked.seconds)


def test_metadata_names_job_model_and_seed_and_no_prompt(video: bytes) -> None:
    with opened(video) as (container, _):
        kept = {name: container.metadata[name] for name in ("title", "job_id", "model", "seed")}
    assert kept == {"title": "video_test", "job_id": "video_test", "model": "tiny", "seed": "5"}


def test_the_poster_is_the_middle_frame(made: dict[str, bytes]) -> None:
    poster = Image.open(io.BytesIO(made["poster"]))
    assert (poster.format, poster.size) == ("WEBP", (64, 64))
    distances = [np.abs(np.asarray(poster.convert("RGB"), float) - frame).mean() for frame in moving()]
    assert int(np.argmin(distances)) == 8


def test_the_spritesheet_shows_frames_in_order(made: dict[str, bytes]) -> None:
    sheet = Mux().run(task(recipe()), made, Undisturbed()).objects[2]
    picture = Image.open(io.BytesIO(sheet.data))
    assert (sheet.name, sheet.media_type, picture.format, picture.size) == (
        "spritesheet", "image/jpeg", "JPEG", (5 * 64, 4 * 64)
    )  # fmt: skip
    pixels = np.asarray(picture, float)
    for place, frame in enumerate(moving()):
        top, left = place // 5 * 64, place % 5 * 64
        assert np.abs(pixels[top : top + 64, left : left + 64] - frame).mean() < 12


def test_of_a_long_video_a_spritesheet_has_25_small_frames() -> None:
    sheet = Spritesheet(832, 480, 81)
    assert (sheet.width, sheet.height) == (160, 92)
    assert Image.open(io.BytesIO(sheet.finish())).size == (5 * 160, 5 * 92)
    chosen = spread(81, 25)
    assert (chosen[0], chosen[-1], len(set(chosen))) == (0, 80, 25)
    assert spread(1, 1) == [0]


def flat_track(colour: tuple[int, int, int]) -> bytes:
    encoder = VideoEncoder(64, 64, 8, Encoding(crf=1))
    encoder.write(np.broadcast_to(np.asarray(colour, np.uint8), (5, 64, 64, 3)))
    return encoder.finish()


def read_with(matrix: Colorspace, track: bytes) -> Frames:
    """The first pixel, by a matrix of our own choice whatever the tags say."""
    with opened(track) as (container, stream):
        frame = next(iter(container.decode(stream)))
        image = frame.reformat(format="rgb24", src_colorspace=matrix, dst_colorspace=matrix)
        pixel: Frames = image.to_ndarray()[32, 32].astype(np.uint8)
        return pixel


@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
def test_the_matrix_really_is_bt709(colour: tuple[int, int, int]) -> None:
    track = flat_track(colour)
    wanted = np.asarray(colour, int)
    assert np.abs(read_with(Colorspace.ITU709, track) - wanted).max() <= 3
    assert np.abs(read_with(Colorspace.ITU601, track) - wanted).max() > 8
    assert np.abs(next(decode(remux(track, {})))[32, 32] - wanted).max() <= 3


def test_luma_is_that_of_bt709_in_limited_range() -> None:
    """By arithmetic, not by the library that encoded it: Rec. ITU-R BT.709, 3.2 to 3.5."""
    red, green, blue = COLOURS["green"]
    luma = 16 + 219 * (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
    with opened(flat_track(COLOURS["green"])) as (container, stream):
        plane = next(iter(container.decode(stream))).to_ndarray(format="yuv420p")
    assert abs(int(plane[32, 32]) - luma) <= 1


def drifting(seed: int) -> Frames:
    """A soft picture that drifts under a little noise, as generated video does: (17, 64, 64, 3)."""
    random = np.random.default_rng(seed)
    soft = np.asarray(Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize((64, 64)), int)
    noisy = [np.roll(soft, (2 * place, 3 * place), (0, 1)) + random.integers(-4, 5, soft.shape) for place in range(17)]
    return np.stack(noisy).clip(0, 255).astype(np.uint8)


def test_the_same_frames_give_the_same_bytes_whatever_was_encoded_before() -> None:
    clips = [drifting(seed) for seed in range(5)]
    files: list[set[bytes]] = [set() for _ in clips]
    order = np.random.default_rng(0).integers(0, len(clips), 100)
    for number in order:
        files[number].add(encode_chunks(iter([clips[number]]), recipe(), Undisturbed())[0])
    assert [len(different) for different in files] == [1] * len(clips)


@pytest.mark.parametrize(
    "break_it", [lambda track: track[: len(track) // 2], lambda track: b"", lambda track: b"junk" * 100,
                 lambda track: track[:900]],
    ids=["half", "empty", "junk", "header only"],
)  # fmt: skip
def test_a_broken_track_is_refused_with_a_reason(break_it: object, made: dict[str, bytes]) -> None:
    assert callable(break_it)
    with pytest.raises(Bug, match=r"cannot be finished: the file (does not decode|has no video track|declares)"):
        Mux().run(task(recipe()), made | {"track": break_it(made["track"])}, Undisturbed())


def test_a_track_of_another_length_is_refused(made: dict[str, bytes]) -> None:
    with pytest.raises(Bug, match="17 frames at 8 fps, not 64x64 with 21"):
        Mux().run(task(recipe(frames=21)), made, Undisturbed())
