#!/usr/bin/python3
"""Checkpoints of a small DDPM UNet in every form that dmq import takes: make_checkpoints.py FOLDER

Two sets of weights, raw and averaged, and what the network makes of x and t with each: ref-raw.npz, ref-ema.npz.
"""
import argparse
import json
import os
import re
import struct
import sys

import numpy
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "reference"))
import unet  # noqa: E402

folder = sys.argv[1]
SMALL = dict(resolution=16, ch=16, mult=(1, 2), res_blocks=1, attention=(8,), groups=8)
torch.set_num_threads(1)


def network(seed):
    return unet.randomize(unet.UNet(**SMALL), seed)


def to_diffusers(name, old):
    """The table of the published conversion, one line a rule."""
    rules = [(r"^temb\.dense\.0", "time_embedding.linear_1"), (r"^temb\.dense\.1", "time_embedding.linear_2"),
             (r"^norm_out", "conv_norm_out"), (r"^mid\.block_1", "mid_block.resnets.0"),
             (r"^mid\.block_2", "mid_block.resnets.1"), (r"^mid\.attn_1", "mid_block.attentions.0"),
             (r"^down\.(\d)\.", r"down_blocks.\1."), (r"\.block\.(\d)", r".resnets.\1"),
             (r"\.attn\.(\d)", r".attentions.\1"), (r"\.downsample\.", ".downsamplers.0."),
             (r"\.upsample\.", ".upsamplers.0."), (r"temb_proj", "time_emb_proj"),
             (r"nin_shortcut", "conv_shortcut"), (r"(attentions\.\d)\.norm", r"\1.group_norm")]
    parts = dict(q="query", k="key", v="value", proj_out="proj_attn") if old else \
        dict(q="to_q", k="to_k", v="to_v", proj_out="to_out.0")
    name = re.sub(r"^up\.(\d)\.", lambda m: "up_blocks.%d." % (len(SMALL["mult"]) - 1 - int(m[1])), name)
    for pattern, with_ in rules:
        name = re.sub(pattern, with_, name)
    return re.sub(r"(attentions\.\d)\.(q|k|v|proj_out)\.", lambda m: "%s.%s." % (m[1], parts[m[2]]), name)


def diffusers(state, old):
    """Its attention holds matrices where the original has 1x1 convolutions."""
    return {to_diffusers(k, old): v[:, :, 0, 0] if ".attn" in k and v.ndim == 4 else v for k, v in state.items()}


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + 4 * t.numel()]}
        at += 4 * t.numel()
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())


def save(name, what, legacy=False):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    torch.save(what, path, _use_new_zipfile_serialization=not legacy)


raw, ema = network(1), network(2)
x = torch.randn(3, 3, 16, 16)
t = torch.tensor([1.0, 500.0, 999.0])
with torch.no_grad():
    for name, net in (("raw", raw), ("ema", ema)):
        numpy.savez(os.path.join(folder, "ref-%s.npz" % name), x=x.numpy(), t=t.numpy(), eps=net(x, t).numpy())
raw, ema = raw.state_dict(), ema.state_dict()
with open(os.path.join(folder, "parameters"), "w") as f:
    f.write("%d\n" % sum(v.numel() for v in ema.values()))
module = {"module." + k: v for k, v in raw.items()}

save("plain.ckpt", ema)
save("legacy.ckpt", ema, legacy=True)
save("strided.ckpt", {k: v.t().contiguous().t() if v.ndim == 2 else v.contiguous(memory_format=torch.channels_last)
                      if v.ndim == 4 else v for k, v in ema.items()})
save("double.ckpt", {k: v.double() for k, v in ema.items()})
save("ddim.ckpt", [module, {"state": {0: {"step": 1}}}, 3, 1000, ema])
save("ddim-noema.ckpt", [module, {"state": {}}, 3, 1000])
save("dit.ckpt", {"model": raw, "ema": ema, "opt": {"state": {}}})
save("lightning.ckpt", {"epoch": 1, "state_dict": raw, "optimizer_states": []})
save("deep.ckpt", {"nets": [raw, {"unet": ema}]})
numpy.savez(os.path.join(folder, "arrays.npz"), **{k: v.numpy() for k, v in ema.items()})
config = {"act_fn": "silu", "attention_head_dim": None, "block_out_channels": [16, 32], "center_input_sample": False,
          "down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "downsample_padding": 0, "flip_sin_to_cos": False,
          "freq_shift": 1, "in_channels": 3, "layers_per_block": 1, "norm_eps": 1e-6, "norm_num_groups": 8,
          "out_channels": 3, "sample_size": 16, "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}
for sub, old in (("new", False), ("old", True)):
    save("%s/diffusion_pytorch_model.bin" % sub, diffusers(ema, old))
    with open(os.path.join(folder, sub, "config.json"), "w") as f:
        json.dump(config, f)
os.makedirs(os.path.join(folder, "shards"))
names = sorted(ema)
index = {"metadata": {}, "weight_map": {}}
for i in range(2):
    file = "model-0000%d-of-00002.safetensors" % (i + 1)
    write_safetensors(os.path.join(folder, "shards", file), {k: ema[k] for k in names[i::2]})
    index["weight_map"].update({k: file for k in names[i::2]})
with open(os.path.join(folder, "shards", "model.safetensors.index.json"), "w") as f:
    json.dump(index, f)



def transformer(seed, width=16, depth=2, classes=3):
    """A DiT of 8x8 latents as its training leaves it: 4 channels in, noise and variance out."""
    torch.manual_seed(seed)
    d = {"pos_embed": torch.randn(1, 16, width), "y_embedder.embedding_table.weight": torch.randn(classes + 1, width),
         "x_embedder.proj.weight": torch.randn(width, 4, 2, 2), "x_embedder.proj.bias": torch.randn(width)}
    linear = {"t_embedder.mlp.0": (width, 256), "t_embedder.mlp.2": (width, width), "final_layer.linear": (32, width),
              "final_layer.adaLN_modulation.1": (2 * width, width)}
    for i in range(depth):
        for name, out, into in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4),
                                ("adaLN_modulation.1", 6, 1)):
            linear["blocks.%d.%s" % (i, name)] = (out * width, into * width)
    for name, (out, into) in linear.items():
        d[name + ".weight"] = torch.randn(out, into) / into**0.5
        d[name + ".bias"] = torch.randn(out) / 10
    return d


save("transformer.pt", {"model": transformer(1), "ema": transformer(2), "opt": {"state": {}},
                        "args": argparse.Namespace(model="DiT")})

# and what must be refused
save("missing.ckpt", {k: v for k, v in ema.items() if k not in ("conv_in.bias", "up.0.block.0.conv1.weight")})
save("extra.ckpt", dict(ema, **{"loss.weight": torch.ones(2), "loss.bias": torch.ones(2)}))
save("nan.ckpt", dict(ema, **{"mid.block_1.conv1.bias": ema["mid.block_1.conv1.bias"] / 0}))
save("shape.ckpt", dict(ema, **{"conv_out.weight": ema["conv_out.weight"].transpose(0, 1)}))
save("whole.ckpt", dict(ema, **{"conv_in.bias": torch.arange(16)}))
