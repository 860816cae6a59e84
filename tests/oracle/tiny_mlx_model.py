"""A random Qwen3 of 165,000 parameters with a tokenizer of bytes, made by MLX itself.  usage: tiny_mlx_model.py FOLDER"""

import json
import sys
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.qwen3 import Model, ModelArgs
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
vocabulary = {character: index for index, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
for special in ("<|im_start|>", "<|im_end|>"):
    vocabulary[special] = len(vocabulary)
bytes_of = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
bytes_of.pre_tokenizer, bytes_of.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_of, eos_token="<|im_end|>", bos_token="<|im_start|>", pad_token="<|im_end|>")
tokenizer.chat_template = TEMPLATE
tokenizer.save_pretrained(folder)
config = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "rms_norm_eps": 1e-6,
    "vocab_size": len(vocabulary),
    "rope_theta": 1e6,
    "max_position_embeddings": 2048,
    "tie_word_embeddings": True,
    "bos_token_id": vocabulary["<|im_start|>"],
    "eos_token_id": vocabulary["<|im_end|>"],
}
(folder / "config.json").write_text(json.dumps(config))
model = Model(ModelArgs.from_dict(config))
mx.eval(model.parameters())
mx.save_safetensors(str(folder / "model.safetensors"), dict(tree_flatten(model.parameters())), metadata={"format": "mlx"})
