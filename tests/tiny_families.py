"""Pipelines of every family at tiny size: real classes, random weights, tokenizers of a few words or letters."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
import transformers
from diffusers import FlowMatchEulerDiscreteScheduler, LCMScheduler
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from tests import tiny

WIDTH = 16


@dataclass(frozen=True)
class Case:
    """How a family's own pipeline is built, and called with and without guidance; `pack` is how it takes noise."""

    build: Callable[[], Any]
    guidance: float = 3.0
    guided: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 3.0})
    plain: dict[str, Any] = field(default_factory=lambda: {"guidance_scale": 1.0})
    negative: str = "a small green ball"
    pack: Callable[[Any, Tensor], Tensor] = lambda pipe, noise: noise


def build(name: str) -> Any:
    """The pipeline of a case, quiet, the global random state untouched."""
    return built(CASES[name])


def built(case: Case) -> Any:
    """The same of any case."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = case.build()
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipe


# --- parts ------------------------------------------------------------------------------------------------------


def flow_scheduler(**changes: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **changes})


def t5(kind: str = "T5") -> dict[str, Any]:
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    pieces += [(f"▁{word}", -1.0) for word in tiny.WORDS] + [(letter, -5.0) for letter in string.ascii_lowercase]
    tokenizer = transformers.T5Tokenizer(vocab=pieces, extra_ids=0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(pieces), d_model=WIDTH, d_ff=32, d_kv=8, num_layers=1, num_heads=2, num_decoder_layers=1
    )
    return {"tokenizer": tokenizer, "text_encoder": getattr(transformers, f"{kind}EncoderModel")(config)}


def gemma() -> dict[str, Any]:
    letters = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *string.ascii_letters, *".,<>-"]
    tokenizer = transformers.GemmaTokenizer(vocab={letter: n for n, letter in enumerate(letters)}, merges=[])
    return {"tokenizer": tokenizer, "text_encoder": decoder("Gemma2", len(letters))}


def qwen(layers: int = 2, *, kind: str = "Model") -> dict[str, Any]:
    letters = [*sorted(ByteLevel.alphabet()), "<|endoftext|>"]
    tokenizer = transformers.Qwen2Tokenizer(vocab={letter: n for n, letter in enumerate(letters)}, merges=[])
    tokenizer.chat_template = "{% for each in messages %}{{ each.content }}{% endfor %}"
    return {"tokenizer": tokenizer, "text_encoder": decoder("Qwen3", len(letters), layers, kind=kind)}


def decoder(family: str, words: int, layers: int = 2, *, kind: str = "Model") -> Any:
    config = getattr(transformers, f"{family}Config")(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
    )
    return getattr(transformers, f"{family}{kind}")(config)


def contracting(network: Any, layer: Any, by: float = 0.3) -> Any:
    """The network with the weights of its last layer made small, so that its equations have one root."""
    layer.weight.data.mul_(by)
    return network


def two_clips() -> dict[str, Any]:
    tokenizer = tiny.clip_tokenizer()
    return {
        "tokenizer": tokenizer,
        "text_encoder": tiny.clip(tokenizer, CLIPTextModelWithProjection),
        "tokenizer_2": tiny.clip_tokenizer(),
        "text_encoder_2": tiny.clip(tokenizer, CLIPTextModelWithProjection),
    }


# --- pipelines --------------------------------------------------------------------------------------------------


def sdxl(**changes: Any) -> Any:
    parts = two_clips()
    return diffusers.StableDiffusionXLPipeline(
        **{**parts, "text_encoder": tiny.clip(parts["tokenizer"])},
        unet=tiny.unet(
            cross_attention_dim=32,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
            **changes,
        ),
        vae=tiny.autoencoder(force_upcast=True, sample_size=1024),
        scheduler=tiny.scheduler(),
        add_watermarker=False,
    )


def lcm() -> Any:
    tokenizer = tiny.clip_tokenizer()
    return diffusers.LatentConsistencyModelPipeline(
        text_encoder=tiny.clip(tokenizer),
        tokenizer=tokenizer,
        unet=tiny.unet(time_cond_proj_dim=16),
        vae=tiny.autoencoder(),
        scheduler=LCMScheduler.from_config(dict(tiny.scheduler().config)),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd3(*, with_t5: bool = True) -> Any:
    third: dict[str, Any] = t5() if with_t5 else dict.fromkeys(("tokenizer", "text_encoder"))
    if with_t5:
        config = third["text_encoder"].config
        config.d_model = 32
        third["text_encoder"] = transformers.T5EncoderModel(config)
    network = diffusers.SD3Transformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        pos_embed_max_size=16,
    )
    return diffusers.StableDiffusion3Pipeline(
        **two_clips(),
        **{f"{part}_3": each for part, each in third.items()},
        transformer=contracting(network, network.proj_out),
        vae=tiny.autoencoder(shift_factor=0.1),
        scheduler=flow_scheduler(shift=1.0, use_dynamic_shifting=with_t5),
    )


def flux(*, reads_guidance: bool) -> Any:
    tokenizer = tiny.clip_tokenizer()
    network = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=16,
        guidance_embeds=reads_guidance,
        axes_dims_rope=(4, 2, 2),
    )
    return diffusers.FluxPipeline(
        tokenizer=tokenizer,
        text_encoder=tiny.clip(tokenizer),
        **{f"{part}_2": each for part, each in t5().items()},
        transformer=contracting(network, network.proj_out),
        vae=tiny.autoencoder(shift_factor=0.1),
        scheduler=flow_scheduler(shift=1.0, use_dynamic_shifting=reads_guidance),
    )


def flux2(*, distilled: bool = False, reader: str = "Model") -> Any:
    network = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = diffusers.AutoencoderKLFlux2(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    return diffusers.Flux2KleinPipeline(
        **qwen(layers=27, kind=reader),
        transformer=contracting(network, network.proj_out),
        vae=vae,
        scheduler=flow_scheduler(use_dynamic_shifting=True),
        is_distilled=distilled,
    )


def pixart(kind: str, **options: Any) -> Any:
    network = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        cross_attention_dim=24,
        caption_channels=WIDTH,
        **options,
    )
    return getattr(diffusers, kind)(
        **t5(), transformer=contracting(network, network.proj_out), vae=tiny.autoencoder(), scheduler=tiny.scheduler()
    )


def sana() -> Any:
    network = diffusers.SanaTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=WIDTH,
        sample_size=8,
    )
    vae = diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        scaling_factor=0.4,
    )
    return diffusers.SanaPipeline(
        **gemma(), transformer=contracting(network, network.proj_out), vae=vae, scheduler=flow_scheduler()
    )


def lumina2() -> Any:
    network = diffusers.Lumina2Transformer2DModel(
        sample_size=4,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=2,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 64, 64),
        cap_feat_dim=WIDTH,
    )
    return diffusers.Lumina2Pipeline(
        **gemma(),
        transformer=contracting(network, network.norm_out.linear_2),
        vae=tiny.autoencoder(downs=3, shift_factor=0.1),
        scheduler=flow_scheduler(shift=6.0),
    )


def aura_flow() -> Any:
    network = diffusers.AuraFlowTransformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=16,
        pos_embed_max_size=256,
    )
    attention = network.joint_transformer_blocks[0].attn
    attention.add_v_proj.weight.data.mul_(30.0)  # prompts make a difference, although most of their tokens are zeros
    attention.to_out[0].weight.data.mul_(10.0)
    return diffusers.AuraFlowPipeline(
        **t5("UMT5"),
        transformer=network,
        vae=tiny.autoencoder(),
        scheduler=flow_scheduler(),
    )


def z_image(*, reader: str = "Model") -> Any:
    network = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=16,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 2, 2],
        axes_lens=[1024, 64, 64],
    )
    for pad in (network.x_pad_token, network.cap_pad_token):
        torch.nn.init.normal_(pad)
    (last,) = network.all_final_layer.values()
    return diffusers.ZImagePipeline(
        **qwen(kind=reader),
        transformer=contracting(network, last.linear),
        vae=tiny.autoencoder(shift_factor=0.1),
        scheduler=flow_scheduler(),
    )


def patches(pipe: Any, noise: Tensor) -> Tensor:
    output: Tensor = pipe._pack_latents(noise, *noise.shape)
    return output


BINNED = {"use_resolution_binning": False, "clean_caption": False}

CASES: dict[str, Case] = {
    "sd": Case(tiny.pipeline),
    "sdxl": Case(sdxl),
    "lcm": Case(lcm, negative=""),
    "sd3": Case(sd3),
    "sd3-without-t5": Case(lambda: sd3(with_t5=False)),
    "flux-dev": Case(lambda: flux(reads_guidance=True), negative="", pack=patches),
    "flux-schnell": Case(
        lambda: flux(reads_guidance=False),
        1.0,
        guided={"max_sequence_length": 256},
        plain={"max_sequence_length": 256},
        negative="",
        pack=patches,
    ),
    "flux2-klein": Case(flux2, negative=""),
    "pixart-alpha": Case(
        lambda: pixart("PixArtAlphaPipeline", sample_size=128),
        guided={"guidance_scale": 3.0, **BINNED},
        plain={"guidance_scale": 1.0, **BINNED},
    ),
    "pixart-sigma": Case(
        lambda: pixart("PixArtSigmaPipeline", sample_size=8),
        guided={"guidance_scale": 3.0, **BINNED},
        plain={"guidance_scale": 1.0, **BINNED},
    ),
    "sana": Case(
        sana,
        guided={"guidance_scale": 3.0, "complex_human_instruction": None, **BINNED},
        plain={"guidance_scale": 1.0, "complex_human_instruction": None, **BINNED},
    ),
    "lumina2": Case(lumina2),
    "aura-flow": Case(aura_flow),
    "z-image": Case(z_image, 2.0, guided={"guidance_scale": 2.0}, plain={"guidance_scale": 0.0}),
}
