"""What a checkpoint has beside its config.json and some classes ask for while they are built: its processor, its code, other files."""

import contextlib
from unittest import mock

import torch
from vllm.model_executor.model_loader.utils import get_model_architecture
from vllm.multimodal import MULTIMODAL_REGISTRY

WHISPER_LARGE_V3 = {"model_type": "whisper", "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120, "num_mel_bins": 128}
# architecture -> files of its checkpoints
BESIDE = {"MoonshotKimiaForCausalLM": {"whisper-large-v3/config.json": WHISPER_LARGE_V3}}


class Processor:
    """Stands in for the checkpoint's processor: how pixels are scaled sizes nothing."""

    do_rescale = do_normalize = True
    rescale_factor, image_mean, image_std = 1 / 255, (0.5,) * 3, (0.5,) * 3

    @property
    def info(self):
        return self

    @property
    def image_processor(self):
        return self

    def get_hf_processor(self):
        return self


def radio(given):
    """transformers' own C-RADIO in the place of the one that checkpoints bring as code, which has no scales of layers."""
    from transformers import AutoModel, RadioConfig

    asked = given.args
    words = len({teacher["name"] for teacher in asked["teachers"]}) if asked["cls_token_per_teacher"] else 1
    registers = asked["register_multiple"] - words % asked["register_multiple"]
    config = RadioConfig(patch_size=given.patch_size, max_img_size=asked["cpe_max_size"], num_cls_tokens=words, num_registers=registers)
    model = AutoModel.from_config(config)
    for module in list(model.modules()):
        if hasattr(module, "lambda1"):
            del module.lambda1
    return model


@contextlib.contextmanager
def checkpoint(config):
    """Classes that ask the checkpoint while they are built get what stands in for it."""
    cls, _ = get_model_architecture(config.model_config)
    own = {"_init_vision_model": lambda self, config, *arguments, **keywords: radio(config.vision_config)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(type(MULTIMODAL_REGISTRY), "create_processor", lambda *arguments, **keywords: Processor()))
        if cls.__name__ == "LlamaNemotronVLChatModel":
            stack.enter_context(mock.patch.multiple(cls, **own))
        yield


def count_frequencies():
    """How many frequencies a Fourier rotary embedding keeps is counted by their values, which the meta device has none of."""
    with contextlib.suppress(ImportError):  # older releases have no such class
        from vllm.model_executor.layers.rotary_embedding.fope import FourierRotaryEmbedding

        compute = FourierRotaryEmbedding._compute_inv_freq

        def counted(self, base):
            with torch.device("cpu"):
                return compute(self, base).to("meta")

        FourierRotaryEmbedding._compute_inv_freq = counted


count_frequencies()
