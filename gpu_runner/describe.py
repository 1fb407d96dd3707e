"""Write `latentline.json` beside a diffusers folder: `python -m gpu_runner.describe FOLDER --model NAME`."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import orjson

from gpu_runner.families import family_of
from gpu_runner.schedulers import SCHEDULERS
from schemas.bundle import MANIFEST_NAME, BundleManifest, Components, Defaults, Geometry, Limits
from schemas.digest import digest

WAN_DEFAULTS = {
    "width": 832, "height": 480, "num_frames": 81, "fps": 16, "num_inference_steps": 50, "guidance_scale": 5.0,
    "negative_prompt": "", "scheduler": "unipc", "flow_shift": 3.0,
}  # fmt: skip


def component_digest(folder: Path, names: tuple[str, ...]) -> str:
    """Digest over path and content of every file of the named components."""
    files = sorted(file for name in names for file in (folder / name).rglob("*") if file.is_file())
    return digest([[str(file.relative_to(folder)), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files])


def read_config(folder: Path, component: str) -> dict[str, Any]:
    config: dict[str, Any] = orjson.loads((folder / component / "config.json").read_bytes())
    return config


def geometry_of(folder: Path) -> Geometry:
    config = read_config(folder, "vae")
    return Geometry(
        latent_channels=config["z_dim"],
        vae_scale_factor_spatial=config["scale_factor_spatial"],
        vae_scale_factor_temporal=config["scale_factor_temporal"],
    )


def describe(folder: Path, arguments: argparse.Namespace) -> BundleManifest:
    """The manifest of a folder; geometry is read off the VAE, digests off the files."""
    parts = family_of(arguments.family).components
    components = Components(**{stage: component_digest(folder, names) for stage, names in parts.items()})
    geometry = geometry_of(folder)
    patch = read_config(folder, "transformer")["patch_size"][1]
    defaults = Defaults(**{name: getattr(arguments, name) for name in WAN_DEFAULTS})
    return BundleManifest(
        model=arguments.model,
        family=arguments.family,
        dtype=arguments.dtype,
        vae_dtype="float32",
        revision=digest(components.model_dump()),
        components=components,
        geometry=geometry,
        limits=Limits(
            size_multiple=geometry.vae_scale_factor_spatial * patch,
            min_side=2 * geometry.vae_scale_factor_spatial * patch,
            max_pixels=arguments.max_pixels,
            frame_step=geometry.vae_scale_factor_temporal,
            max_frames=arguments.max_frames,
            max_sequence_length=arguments.max_sequence_length,
            max_prompt_characters=arguments.max_prompt_characters,
            max_inference_steps=1000,
            max_guidance_scale=20.0,
            max_fps=60,
            schedulers=SCHEDULERS,
        ),
        defaults=defaults,
    )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True, help="name that prompts ask for")
    parser.add_argument("--family", default="wan")
    parser.add_argument("--dtype", default="bfloat16", help="torch dtype of transformer and text encoder")
    parser.add_argument("--max-pixels", type=int, default=1280 * 720)
    parser.add_argument("--max-frames", type=int, default=161)
    parser.add_argument("--max-sequence-length", type=int, default=512)
    parser.add_argument("--max-prompt-characters", type=int, default=4000)
    for name, value in WAN_DEFAULTS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--check", action="store_true", help="fail where the file differs; write nothing")
    return parser


def main() -> int:
    arguments = parser().parse_args()
    target = arguments.folder / MANIFEST_NAME
    data = orjson.dumps(
        describe(arguments.folder, arguments).model_dump(mode="json"),
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    if not arguments.check:
        target.write_bytes(data)
    elif not target.exists() or target.read_bytes() != data:
        print(f"{target} is stale: run this command without --check", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
