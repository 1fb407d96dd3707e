"""Everything that determines the trained weights, in one value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VaePhase:
    """A stretch of VAE training on clips cut to `frames`: short clips first, because they are cheap."""

    frames: int
    batch: int
    steps: int


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Steps, batches and learning rates of one training run; schedules count steps, never seconds."""

    seed: int = 7
    clips: int = 12288
    vae_phases: tuple[VaePhase, ...] = (VaePhase(5, 12, 400), VaePhase(9, 8, 700), VaePhase(17, 8, 350))
    vae_warm_up: int = 10
    vae_decay_from: float = 0.4
    kl_weight: float = 3e-4
    object_weight: float = 4.0
    edge_weight: float = 12.0
    encode_batch: int = 16
    decoder_steps: int = 240
    decoder_batch: int = 8
    decoder_decay_from: float = 0.1
    decoder_muon_rate: float = 0.01
    decoder_adam_rate: float = 5e-4
    decoder_noise: tuple[float, float] = (0.05, 0.15)
    steps: int = 2800
    batch: int = 64
    warm_up: int = 50
    decay_from: float = 0.4
    muon_rate: float = 0.02
    adam_rate: float = 2e-3
    vae_adam_rate: float = 1e-3
    text_rate: float = 1e-3
    clip_norm: float = 1.0
    caption_dropout: float = 0.1
    flow_shift: float = 3.0
    ema_decay: float = 0.998
    checkpoint_every: int = 150

    @property
    def vae_steps(self) -> int:
        return sum(phase.steps for phase in self.vae_phases)


# A few seconds end to end: proves that every phase runs, trains nothing worth keeping.
SMOKE = TrainingSettings(
    clips=64,
    vae_phases=(VaePhase(5, 2, 3), VaePhase(9, 2, 2), VaePhase(17, 2, 2)),
    decoder_steps=2,
    decoder_batch=2,
    steps=6,
    batch=8,
    warm_up=2,
    vae_warm_up=2,
    checkpoint_every=2,
)
