"""Train a finished tiny bundle further: `python -m gpu_runner.tiny.refine --bundle bundles/tiny --out bundles/tiny`.

The VAE and its normalisation stay; transformer and text encoder go on from where they are, on fresh clips, with a warm
restart of the learning rate. A run finds what an earlier one of its round left in --work-dir.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import AutoTokenizer, UMT5EncoderModel

from gpu_runner.tiny.captions import split
from gpu_runner.tiny.data import balanced
from gpu_runner.tiny.model import save_bundle
from gpu_runner.tiny.settings import TrainingSettings
from gpu_runner.tiny.train import report
from gpu_runner.tiny.train_transformer import TransformerTraining
from gpu_runner.tiny.train_vae import Latents, encode_clips


def refinement(steps: int, number: int) -> TrainingSettings:
    """Other clips and noise than any earlier round, half the first rates, falling from a tenth of the way on."""
    first = TrainingSettings()
    return replace(
        first, seed=first.seed + number, steps=steps, decay_from=0.1, muon_rate=first.muon_rate / 2,
        adam_rate=first.adam_rate / 2, text_rate=first.text_rate / 2,
    )  # fmt: skip


def encoded_clips(work: Path, vae: AutoencoderKLWan, settings: TrainingSettings) -> Latents:
    """Fresh clips in latents, normalised as the bundle's VAE says."""
    path = work / f"refine-{settings.seed}-latents.safetensors"
    captions = balanced(split().seen, settings.clips, np.random.default_rng([settings.seed, 2]))
    if not path.exists():
        batches = list(encode_clips(vae, captions, settings))
        tensors = {name: torch.cat([getattr(batch, name) for batch in batches]) for name in ("mean", "std")}
        safetensors.torch.save_file(tensors, path)
        print(f"encoded {settings.clips} clips", flush=True)
    stored = safetensors.torch.load_file(path)
    mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    return Latents((stored["mean"].float() - mean) / std, stored["std"].float() / std, captions)


def refine(bundle: Path, out: Path, work: Path, settings: TrainingSettings, export_only: bool) -> None:
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(bundle / "tokenizer")
    vae = AutoencoderKLWan.from_pretrained(bundle / "vae", torch_dtype=torch.float32).eval()
    latents = encoded_clips(work, vae, settings)
    training = TransformerTraining(tokenizer, settings)
    training.adopt(
        WanTransformer3DModel.from_pretrained(bundle / "transformer", torch_dtype=torch.float32),
        UMT5EncoderModel.from_pretrained(bundle / "text_encoder", dtype=torch.float32),
    )
    checkpoint = work / f"refine-{settings.seed}.pt"
    if checkpoint.exists():
        training.load(checkpoint)
    if not export_only:
        for step in report("refine", training.run(latents), settings.steps, training.step):
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                training.save(checkpoint)
    averaged = training.averaged.eval()
    save_bundle(out, tokenizer, averaged["text_encoder"], averaged["transformer"], vae, settings.flow_shift)
    print(f"wrote {out} at step {training.step}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="where to go on from")
    parser.add_argument("--out", type=Path, required=True, help="bundle directory; other files there stay")
    parser.add_argument("--work-dir", type=Path, default=Path("out/tiny-training"))
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--round", type=int, default=1, help="the how-manieth refinement of this bundle")
    parser.add_argument("--export-only", action="store_true", help="write the moving average so far, train no step")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = refinement(arguments.steps, arguments.round)
    refine(arguments.bundle, arguments.out, arguments.work_dir, settings, arguments.export_only)


if __name__ == "__main__":
    main()
