"""Train the VAE on rendered clips, encode the clips that the transformer learns from, sharpen the decoder."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from gpu_runner.no_grad import no_grad
from tiny_model.captions import Caption
from tiny_model.data import Pixels, balanced, render_batch
from tiny_model.optimisers import Optimisers, split_matrices, trapezoid
from tiny_model.settings import TrainingSettings

EDGE_CONTRAST = 0.05
"""Least difference between pixels that is an edge, in a range of 2."""


@dataclass(frozen=True, slots=True)
class Latents:
    """Posterior mean and standard deviation of each clip, fp16 of shape (clips, 8, 5, 8, 8), and its caption."""

    mean: torch.Tensor
    std: torch.Tensor
    captions: list[Caption]


def to_model_range(clips: Pixels) -> torch.Tensor:
    """uint8 (n, frames, height, width, 3) to float32 (n, 3, frames, height, width) in [-1, 1]."""
    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float().div(127.5).sub(1)


def decode_unclamped(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """What `vae.decode` computes before its clamp, whose gradient vanishes on every saturated pixel."""
    vae.clear_cache()
    hidden = vae.post_quant_conv(latents)
    chunks = []
    for i in range(latents.shape[2]):
        vae._conv_idx = [0]
        chunks.append(
            vae.decoder(hidden[:, :, i : i + 1], feat_cache=vae._feat_map, feat_idx=vae._conv_idx, first_chunk=i == 0)
        )
    vae.clear_cache()
    return unpatchify(torch.cat(chunks, 2), patch_size=vae.config.patch_size)


def reconstruction_loss(output: torch.Tensor, clips: torch.Tensor, settings: TrainingSettings) -> torch.Tensor:
    """Mean absolute error of pixels (n, 3, frames, height, width), heavier on the object and most on its edge."""
    on_object = (clips - clips[..., :1, :1]).abs().amax(1, keepdim=True) > EDGE_CONTRAST
    weight = 1 + settings.object_weight * on_object.float() + settings.edge_weight * edges(clips).float()
    return (weight * (output - clips).abs()).sum() / (weight.sum() * clips.shape[1])


def edges(clips: torch.Tensor) -> torch.Tensor:
    """Whether the 3 x 3 pixels around one differ: bool (n, 1, frames, height, width)."""
    frames = clips.transpose(1, 2).flatten(0, 1)
    highest, lowest = (F.max_pool2d(sign * frames, 3, stride=1, padding=1) for sign in (1, -1))
    contrast = (highest + lowest).amax(1).unflatten(0, (len(clips), -1))
    return contrast.unsqueeze(1) > EDGE_CONTRAST


def _divergence(posterior: DiagonalGaussianDistribution) -> torch.Tensor:
    """KL divergence from N(0, 1), mean over every latent value."""
    return 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).float().mean()


def train_vae(vae: AutoencoderKLWan, captions: tuple[Caption, ...], settings: TrainingSettings) -> Iterator[float]:
    """Train in place; yields the loss of each step."""
    matrices, others = split_matrices(vae.named_parameters())
    optimisers = Optimisers(matrices, settings.muon_rate, [(others, settings.vae_adam_rate)], settings.clip_norm)
    phases = [phase for phase in settings.vae_phases for _ in range(phase.steps)]
    for step, phase in enumerate(phases):
        rng = np.random.default_rng([settings.seed, 1, step])
        torch.manual_seed(settings.seed * 1_000_000 + step)
        chosen = balanced(captions, phase.batch, rng)
        clips = to_model_range(render_batch(chosen, rng))
        start = int(rng.integers(0, clips.shape[2] - phase.frames + 1))
        clips = clips[:, :, start : start + phase.frames]
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(clips).latent_dist
            output = decode_unclamped(vae, posterior.sample())
        divergence = _divergence(posterior)
        ramp = min(1.0, step / (0.1 * settings.vae_steps))
        loss = reconstruction_loss(output.float(), clips, settings)
        rate = trapezoid(step, settings.vae_steps, settings.vae_warm_up, settings.vae_decay_from)
        optimisers.step(loss + settings.kl_weight * ramp * divergence, rate)
        yield loss.item()


def train_decoder(vae: AutoencoderKLWan, captions: tuple[Caption, ...], settings: TrainingSettings) -> Iterator[float]:
    """Train the decoder alone, in place, on whole clips; yields the loss of each step.

    Latents keep their meaning, so this changes nothing for the transformer. Each is moved by noise of a share of its
    channel's standard deviation, so that the decoder draws sharp what a transformer gets a little wrong.
    """
    trained = torch.nn.ModuleList([vae.post_quant_conv, vae.decoder])
    vae.requires_grad_(False)
    trained.requires_grad_(True)
    matrices, others = split_matrices(trained.named_parameters())
    rates = [(others, settings.decoder_adam_rate)]
    optimisers = Optimisers(matrices, settings.decoder_muon_rate, rates, settings.clip_norm)
    std = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
    least, most = settings.decoder_noise
    for step in range(settings.decoder_steps):
        rng = np.random.default_rng([settings.seed, 4, step])
        torch.manual_seed(settings.seed * 1_000_000 + step)
        clips = to_model_range(render_batch(balanced(captions, settings.decoder_batch, rng), rng))
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                latents = vae.encode(clips).latent_dist.sample().float()
            share = least + (most - least) * torch.rand(len(clips), 1, 1, 1, 1)
            output = decode_unclamped(vae, latents + share * std * torch.randn_like(latents))
        loss = reconstruction_loss(output.float(), clips, settings)
        rate = trapezoid(step, settings.decoder_steps, settings.vae_warm_up, settings.decoder_decay_from)
        optimisers.step(loss, rate)
        yield loss.item()


@no_grad
def encode_clips(vae: AutoencoderKLWan, captions: list[Caption], settings: TrainingSettings) -> Iterator[Latents]:
    """Render and encode one clip a caption, a batch at a time."""
    rng = np.random.default_rng([settings.seed, 3])
    for start in range(0, len(captions), settings.encode_batch):
        batch = captions[start : start + settings.encode_batch]
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(to_model_range(render_batch(batch, rng))).latent_dist
        yield Latents(posterior.mean.half(), posterior.std.half(), batch)


def normalise(vae: AutoencoderKLWan, latents: Latents) -> Latents:
    """Give every latent channel zero mean and unit variance, and tell the VAE's config how to undo it."""
    axes = (0, 2, 3, 4)
    mean = latents.mean.float().mean(axes)
    std = (latents.mean.float().var(axes) + latents.std.float().square().mean(axes)).sqrt()
    vae.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    shape = (1, -1, 1, 1, 1)
    return Latents(
        (latents.mean.float() - mean.view(shape)) / std.view(shape),
        latents.std.float() / std.view(shape),
        latents.captions,
    )


@no_grad
def reconstruction_psnr(vae: AutoencoderKLWan, clips: Pixels) -> float:
    """Peak signal-to-noise ratio (dB, peak-to-peak 2 in [-1, 1]) of encode and decode, by posterior mean."""
    target = to_model_range(clips)
    output = vae.decode(vae.encode(target).latent_dist.mean).sample
    return float(10 * torch.log10(4 / F.mse_loss(output, target)))
