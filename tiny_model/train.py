"""Train the tiny bundle from nothing: `python -m tiny_model.train --out bundles/tiny`.

Each phase leaves its result in --work-dir, and a run finds what an earlier one left there: an interrupted
training loses the VAE phase in progress or at most 150 transformer steps.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from diffusers import AutoencoderKLWan

from tiny_model.captions import split
from tiny_model.data import balanced, render_batch
from tiny_model.model import build_tokenizer, build_vae, save_bundle
from tiny_model.settings import SMOKE, TrainingSettings
from tiny_model.train_transformer import TransformerTraining
from tiny_model.train_vae import Latents, encode_clips, normalise, reconstruction_psnr, train_decoder, train_vae

_REPORT_EVERY = 25


def report(phase: str, losses: Iterable[float], steps: int, start: int = 0) -> Iterator[int]:
    """Print progress, loss averaged since the last line; yields the number of finished steps."""
    since, recent = time.monotonic(), []
    for step, loss in enumerate(losses, start + 1):
        recent.append(loss)
        if step % _REPORT_EVERY == 0 or step == steps:
            pace = (time.monotonic() - since) / len(recent)
            print(f"{phase} {step}/{steps} loss {np.mean(recent):.4f} {pace:.2f} s/step", flush=True)
            since, recent = time.monotonic(), []
        yield step


def trained_vae(work: Path, settings: TrainingSettings) -> AutoencoderKLWan:
    path = work / "vae.safetensors"
    torch.manual_seed(settings.seed)
    vae = build_vae()
    if path.exists():
        vae.load_state_dict(safetensors.torch.load_file(path))
        return vae.eval()
    for _ in report("vae", train_vae(vae, split().seen, settings), settings.vae_steps):
        pass
    safetensors.torch.save_file(vae.state_dict(), path)
    print_psnr("vae", vae, settings)
    return vae


def encoded_clips(work: Path, vae: AutoencoderKLWan, settings: TrainingSettings) -> Latents:
    """The clips in the VAE's latents, normalised; writes the normalisation into the VAE's config."""
    path = work / "latents.safetensors"
    captions = balanced(split().seen, settings.clips, np.random.default_rng([settings.seed, 2]))
    if not path.exists():
        batches = list(encode_clips(vae, captions, settings))
        tensors = {name: torch.cat([getattr(b, name) for b in batches]) for name in ("mean", "std")}
        safetensors.torch.save_file(tensors, path)
        print(f"encoded {settings.clips} clips", flush=True)
    stored = safetensors.torch.load_file(path)
    return normalise(vae, Latents(stored["mean"], stored["std"], captions))


def sharpened(work: Path, vae: AutoencoderKLWan, settings: TrainingSettings) -> None:
    """Train the decoder once more, by itself. Needs the normalisation in the VAE's config."""
    path = work / "decoder.safetensors"
    if not path.exists():
        for _ in report("decoder", train_decoder(vae, split().seen, settings), settings.decoder_steps):
            pass
        safetensors.torch.save_file(vae.state_dict(), path)
        print_psnr("decoder", vae, settings)
    vae.load_state_dict(safetensors.torch.load_file(path))


def print_psnr(phase: str, vae: AutoencoderKLWan, settings: TrainingSettings) -> None:
    held_out = balanced(split().held_out, 16, rng := np.random.default_rng(settings.seed))
    psnr = reconstruction_psnr(vae.eval(), render_batch(held_out, rng))
    print(f"{phase} held-out PSNR {psnr:.2f} dB", flush=True)


def train(out: Path, work: Path, settings: TrainingSettings, export_only: bool) -> None:
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(split().seen)
    vae = trained_vae(work, settings)
    latents = encoded_clips(work, vae, settings)
    sharpened(work, vae, settings)
    checkpoint = work / "transformer.pt"
    training = TransformerTraining(tokenizer, settings)
    if checkpoint.exists():
        training.load(checkpoint)
    if not export_only:
        for step in report("transformer", training.run(latents), settings.steps, training.step):
            if step % settings.checkpoint_every == 0 or step == settings.steps:
                training.save(checkpoint)
    averaged = training.averaged.eval()
    save_bundle(out, tokenizer, averaged["text_encoder"], averaged["transformer"], vae, settings.flow_shift)
    print(f"wrote {out} at step {training.step}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="bundle directory; other files there stay")
    parser.add_argument("--work-dir", type=Path, default=Path("out/tiny-training"), help="results of the phases")
    parser.add_argument("--export-only", action="store_true", help="write the moving average so far, train no step")
    parser.add_argument("--smoke", action="store_true", help="a few steps of each phase, to see that all run")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = SMOKE if arguments.smoke else TrainingSettings()
    train(arguments.out, arguments.work_dir, settings, arguments.export_only)


if __name__ == "__main__":
    main()
