"""The tiny model's parts, untrained, in the classes that released Wan checkpoints use."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from tiny_model.captions import Caption

# Full captions are 10 words and an end mark. Released Wan models train on 512; the pipeline must be told.
MAX_SEQUENCE_LENGTH = 16
LATENT_CHANNELS = 8
LATENT_SHAPE = (LATENT_CHANNELS, 5, 8, 8)
_TEXT_WIDTH = 96
_SPECIAL = ("<pad>", "</s>", "<unk>")


def build_tokenizer(captions: tuple[Caption, ...]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer whose vocabulary is the words of the captions; needs no network."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(special_tokens=list(_SPECIAL), show_progress=False)
    tokenizer.train_from_iterator([caption.text for caption in captions], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_SEQUENCE_LENGTH,
    )


def build_text_encoder() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=32,
        d_model=_TEXT_WIDTH,
        d_kv=24,
        d_ff=192,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=16,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    encoder = UMT5EncoderModel(config)
    torch.nn.init.normal_(encoder.get_input_embeddings().weight)
    return encoder


def build_vae() -> AutoencoderKLWan:
    """17 x 64 x 64 RGB to 8 x 5 x 8 x 8: pixels fold 2 x 2 into channels, then two halvings in space and time."""
    return AutoencoderKLWan(
        base_dim=16,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[True, True],
        latents_mean=[0.0] * LATENT_CHANNELS,
        latents_std=[1.0] * LATENT_CHANNELS,
        is_residual=False,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_temporal=4,
        scale_factor_spatial=8,
    )


def build_transformer() -> WanTransformer3DModel:
    """A wide, shallow transformer that starts as the identity plus a small attention to the text.

    Blocks open at 0.3 of their strength and time modulates nothing yet: from the default random modulation
    a model of this size does not learn within an hour.
    """
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=4,
        attention_head_dim=64,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=_TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=768,
        num_layers=4,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )
    with torch.no_grad():
        silent = (transformer.condition_embedder.time_proj, transformer.proj_out)
        for parameter in (parameter for layer in silent for parameter in layer.parameters()):
            parameter.zero_()
        transformer.scale_shift_table.zero_()
        for block in transformer.blocks:
            block.scale_shift_table.zero_()
            block.scale_shift_table[:, [2, 5]] = 0.3
            block.attn2.to_out[0].weight.mul_(0.3)
    return transformer


def save_bundle(
    directory: Path,
    tokenizer: PreTrainedTokenizerFast,
    text_encoder: UMT5EncoderModel,
    transformer: WanTransformer3DModel,
    vae: AutoencoderKLWan,
    flow_shift: float,
) -> None:
    """Write a diffusers bundle: transformer and VAE in fp16, the text encoder in fp32; safetensors only.

    Other files of the directory stay. The text encoder keeps fp32 because transformers loads a fp16 one as
    fp16 unless told otherwise. Transformer and VAE are converted in place.
    """
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=text_encoder.float(),
        transformer=transformer.half(),
        vae=vae.half(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=flow_shift),
    )
    pipeline.save_pretrained(directory, safe_serialization=True)
