"""Write `latentline.json`, what the line must know of a model: `python -m gpu_runner.describe FOLDER --model NAME`.

FOLDER is a diffusers folder, or (with --source) a new folder for the description of a repository in the hub's cache.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from gpu_runner.bundle import refuse_pickles, resolve
from gpu_runner.families import FAMILIES, family_of
from gpu_runner.families.base import Family
from gpu_runner.files import component_digest, file_digests
from schemas.bundle import MANIFEST_NAME, BundleManifest, Components, Defaults, Geometry, LatentColours, Limits
from schemas.digest import digest
from schemas.errors import InvalidJob
from schemas.events.prompts import PromptSubmitted
from schemas.limits import recipe_of
from schemas.recipe import VaeTiling

DTYPES = ("float32", "bfloat16", "float16")


def read_config(folder: Path, component: str) -> dict[str, Any]:
    config: dict[str, Any] = orjson.loads((folder / component / "config.json").read_bytes())
    return config


def describe(folder: Path, family: type[Family], arguments: argparse.Namespace) -> BundleManifest:
    """The manifest of a diffusers folder: geometry and limits read off the configs, digests off the files."""
    refuse_pickles(folder)
    files = {stage: file_digests(folder, names) for stage, names in family.components.items()}
    components = Components(**{stage: component_digest(digests) for stage, digests in files.items()})
    geometry = family.geometry(read_config(folder, "vae"))
    manifest = BundleManifest(
        model=arguments.model,
        family=arguments.family,
        source=arguments.source,
        source_revision=arguments.source_revision or commit_of(folder),
        dtype=arguments.dtype,
        vae_dtype=arguments.vae_dtype,
        revision=digest(components.model_dump()),
        components=components,
        files={path: hashed for digests in files.values() for path, hashed in digests.items()},
        geometry=geometry,
        limits=limits_of(family, geometry, read_config(folder, "transformer"), arguments),
        defaults=defaults_of(family, arguments),
        vocabulary=vocabulary_of(folder),
        vae_tiling=tiling_of(family, arguments),
    )
    check_defaults(manifest)
    return manifest


def limits_of(
    family: type[Family], geometry: Geometry, transformer: dict[str, Any], arguments: argparse.Namespace
) -> Limits:
    """What the command line allows, narrowed to what the model can compute.

    Raises `InvalidJob` for a length of texts that is not the model's.
    """
    size_multiple, frame_step = family.multiples(geometry, transformer)
    limits = Limits(
        size_multiple=size_multiple,
        min_side=2 * size_multiple,
        max_pixels=arguments.max_pixels,
        frame_step=frame_step,
        max_frames=arguments.max_frames,
        max_sequence_length=arguments.max_sequence_length or family.max_sequence_length,
        max_prompt_characters=arguments.max_prompt_characters,
        max_inference_steps=1000,
        max_guidance_scale=20.0,
        max_fps=60,
        schedulers=family.schedulers,
    )
    bounded = family.bounded(limits, geometry, transformer)
    asked, length = arguments.max_sequence_length, bounded.max_sequence_length
    if asked not in (None, length):
        raise InvalidJob("max_sequence_length", asked, "the transformer's positions fit one length of texts", length)
    return bounded


def vocabulary_of(folder: Path) -> tuple[str, ...] | None:
    """The words of a tokenizer that knows whole words alone, in order of the alphabet; None for any other one."""
    file = folder / "tokenizer" / "tokenizer.json"
    tokenizer = orjson.loads(file.read_bytes()) if file.exists() else {}
    if tokenizer.get("model", {}).get("type") != "WordLevel":
        return None
    special = {token["content"] for token in tokenizer["added_tokens"]}
    return tuple(sorted(tokenizer["model"]["vocab"].keys() - special))


def check_defaults(manifest: BundleManifest) -> None:
    """Raises `InvalidJob` for defaults that nobody could ask for by name."""
    defaults = manifest.defaults.model_dump(exclude={"width", "height", "flow_shift"})
    size = f"{manifest.defaults.width}x{manifest.defaults.height}"
    asked = PromptSubmitted(prompt="defaults", size=size, **defaults)
    recipe_of(asked, "defaults", {manifest.model: manifest}, manifest.model)


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the hub's cache holds: a branch may move, the weights described here may not."""
    return folder.name if folder.parent.name == "snapshots" else None


def defaults_of(family: type[Family], arguments: argparse.Namespace) -> Defaults:
    """The family's own, where the command line does not say otherwise."""
    asked = {name: getattr(arguments, name) for name in Defaults.model_fields}
    return family.defaults.model_copy(update={name: value for name, value in asked.items() if value is not None})


def tiling_of(family: type[Family], arguments: argparse.Namespace) -> VaeTiling:
    """The family's own, where the command line does not say otherwise."""
    asked = {name: getattr(arguments, name) for name in VaeTiling.model_fields}
    return family.vae_tiling.model_copy(update={name: value for name, value in asked.items() if value is not None})


def known_colours(target: Path, manifest: BundleManifest) -> LatentColours | None:
    """Those that `gpu_runner.latent_rgb` has fitted to the same VAE."""
    if not target.exists():
        return None
    before = BundleManifest.read(target.read_bytes())
    return before.latent_colours if before.components.decode == manifest.components.decode else None


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where latentline.json goes")
    parser.add_argument("--model", required=True, help="name that prompts ask for")
    parser.add_argument("--family", default="wan", choices=tuple(FAMILIES))
    parser.add_argument("--source", default=".", help="hub repository or other folder that holds the model")
    parser.add_argument("--source-revision", help="commit of the hub repository")
    parser.add_argument(
        "--dtype", default="bfloat16", choices=DTYPES, help="torch dtype of transformer and text encoder"
    )
    parser.add_argument("--vae-dtype", default="float32", choices=DTYPES, help="torch dtype of the VAE")
    parser.add_argument("--max-pixels", type=int, default=1280 * 720, help="of one frame")
    parser.add_argument("--max-frames", type=int, default=161)
    parser.add_argument("--max-sequence-length", type=int, help="tokens of a prompt; unset: the family's")
    parser.add_argument("--max-prompt-characters", type=int, default=4000)
    for name, field in (Defaults.model_fields | VaeTiling.model_fields).items():
        assert isinstance(field.annotation, type)
        parser.add_argument(f"--{name.replace('_', '-')}", type=field.annotation, help="unset: the family's")
    parser.add_argument("--check", action="store_true", help="fail where the file differs; write nothing")
    return parser


def main() -> int:
    arguments = parser().parse_args()
    target: Path = arguments.folder / MANIFEST_NAME
    source = resolve(arguments.folder, arguments.source, arguments.source_revision)
    try:
        manifest = describe(source, family_of(arguments.family), arguments)
    except InvalidJob as error:
        print(f"{arguments.folder} is not described: {error}", file=sys.stderr)
        return 1
    manifest = manifest.model_copy(update={"latent_colours": known_colours(target, manifest)})
    data = orjson.dumps(manifest.model_dump(mode="json"), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if not arguments.check:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    elif not target.exists() or target.read_bytes() != data:
        print(f"{target} is stale: run this command without --check", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
