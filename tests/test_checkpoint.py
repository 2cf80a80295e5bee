"""Checkpoints: whole or absent, verified, and never executable."""

import json

import pytest
import torch

from nerp.errors import CheckpointError
from nerp.randomness import choose, stream
from nerp.training.checkpoint import (
    Checkpoint,
    check_settings,
    latest_checkpoint,
    load_checkpoint,
    load_generator,
    pack_module,
    pack_optimizer,
    save_checkpoint,
    save_generator,
    unpack_module,
    unpack_optimizer,
)
from nerp.training.run_log import trim_metrics


def checkpoint(step=1):
    tensors = {"a/weight": torch.randn(3, 4), "b/half": torch.ones(2, dtype=torch.bfloat16), "b/count": torch.tensor(5)}
    return Checkpoint(step, {"loss.l1": 1.0, "data.ct_dir": None, "viewer.shape": [8, 8]}, tensors)


def test_round_trip_is_exact(tmp_path):
    written = checkpoint(12)
    path = save_checkpoint(tmp_path, written)
    read = load_checkpoint(path)
    assert (read.step, read.settings, path.name) == (12, written.settings, "step-00000012.safetensors")
    assert read.tensors.keys() == written.tensors.keys()
    assert all(torch.equal(read.tensors[name], tensor) for name, tensor in written.tensors.items())


def test_the_last_two_are_kept_and_nothing_else_lies_there(tmp_path):
    for step in (5, 10, 15):
        save_checkpoint(tmp_path, checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000010.safetensors",
        "step-00000015.safetensors",
    ]
    assert latest_checkpoint(tmp_path).step == 15


def test_no_checkpoint_yet(tmp_path):
    assert latest_checkpoint(tmp_path / "nowhere") is None


def truncate(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def flip_a_bit_of_the_header(path):
    content = path.read_bytes()
    assert content.count(b'loss.l1\\": 1.0') == 1
    path.write_bytes(content.replace(b'loss.l1\\": 1.0', b'loss.l1\\": 3.0'))


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, flip_a_bit_of_the_header, empty])
def test_damaged_newest_falls_back_with_a_warning(tmp_path, caplog, damage):
    save_checkpoint(tmp_path, checkpoint(5))
    damage(save_checkpoint(tmp_path, checkpoint(10)))
    assert latest_checkpoint(tmp_path).step == 5
    assert "step-00000010.safetensors is damaged" in caplog.text
    assert "going back to the one before it" in caplog.text


def test_all_damaged_is_refused(tmp_path):
    for step in (5, 10):
        truncate(save_checkpoint(tmp_path, checkpoint(step)))
    with pytest.raises(CheckpointError, match="all 2 checkpoints in .* are damaged; delete that folder to start"):
        latest_checkpoint(tmp_path)


def test_other_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="has format None; expected a checkpoint of 'nerp-checkpoint-1'"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_generator_comes_back_with_what_it_says_of_itself(tmp_path):
    mapper = torch.nn.Linear(3, 2)
    settings = {"mapper.arch": "unet", "seed": 3}
    save_generator(tmp_path / "generator.safetensors", mapper, step=7, settings=settings)
    weights, header = load_generator(tmp_path / "generator.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in mapper.state_dict().items())
    assert (header["format"], header["step"], header["mapper"]) == ("nerp-generator-1", 7, {"mapper.arch": "unet"})


def test_what_is_no_generator_is_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "generator.safetensors"
    with pytest.raises(CheckpointError, match=r"generator .* is damaged \(.*\); train it again"):
        load_generator(path)
    for metadata in (None, {"header": "{"}, {"header": "[]"}, {"format": "nerp-generator-1"}):
        save_file({"x": torch.zeros(1)}, path, metadata)
        with pytest.raises(CheckpointError, match="has format None; expected a generator of 'nerp-generator-1'"):
            load_generator(path)
    save_file({"x": torch.zeros(1)}, path, {"header": json.dumps({"format": "nerp-generator-9"})})
    with pytest.raises(CheckpointError, match="has format 'nerp-generator-9'"):
        load_generator(path)


def test_optimiser_states_lie_in_memory_as_their_parameters_do():
    parameter = torch.nn.Parameter(torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    parameter.square().sum().backward()
    optimizer.step()
    packed = {name: tensor.contiguous() for name, tensor in pack_optimizer("adam", optimizer).items()}
    unpack_optimizer("adam", optimizer, packed)
    moment = optimizer.state[parameter]["exp_avg"]
    assert moment.stride() == parameter.stride() != packed["adam/0/exp_avg"].stride()
    assert torch.equal(moment, packed["adam/0/exp_avg"])


def test_changed_settings_are_named():
    found = {"loss.l1": 1.0, "data.size": 64, "seed": 0}
    check_settings(found, dict(found), "runs/x")
    message = r"runs/x was made with other settings: data.size \(64 in the run, 96 now\), loss.l1 \(1.0 in the run, 2.0"
    with pytest.raises(CheckpointError, match=message):
        check_settings(found, {**found, "data.size": 96, "loss.l1": 2.0}, "runs/x")


def test_module_and_optimiser_continue_exactly():
    torch.manual_seed(0)
    inputs = torch.randn(6, 4, 3)

    def make():
        torch.manual_seed(1)
        module = torch.nn.Linear(3, 2)
        return module, torch.optim.AdamW(module.parameters(), lr=0.1)

    def steps(module, optimizer, batches):
        for batch in batches:
            optimizer.zero_grad()
            module(batch).square().mean().backward()
            optimizer.step()

    whole, optimizer = make()
    steps(whole, optimizer, inputs)
    half, optimizer = make()
    steps(half, optimizer, inputs[:3])
    tensors = pack_module("net", half) | pack_optimizer("adam", optimizer)
    resumed, optimizer = make()
    unpack_module("net", resumed, tensors)
    unpack_optimizer("adam", optimizer, tensors)
    steps(resumed, optimizer, inputs[3:])
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)


def test_metrics_are_trimmed_to_the_resumed_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in (10, 20, 30)) + '{"step": 4')
    trim_metrics(path, 20)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20]


def test_streams_depend_on_all_they_are_named_by():
    def draw(*names):
        return torch.rand(4, generator=stream(*names)).tolist()

    assert draw(0, 1, "cameras") == draw(0, 1, "cameras")
    others = [draw(1, 1, "cameras"), draw(0, 2, "cameras"), draw(0, 1, "patients"), draw(0, 1, "cameras", 1)]
    assert draw(0, 1, "cameras") not in others


def test_choices_repeat_only_when_they_must(generator):
    assert sorted(choose(5, 5, generator)) == [0, 1, 2, 3, 4]
    chosen = choose(7, 3, generator)
    assert sorted(chosen[:3]) == [0, 1, 2]
    assert len(chosen) == 7
    assert set(chosen) == {0, 1, 2}
