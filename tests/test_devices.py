"""Which device a name means, on machines with and without a GPU."""

import pytest
import torch

from nerp.devices import DEVICES, choose_device
from nerp.errors import UsageError


@pytest.mark.parametrize(("has_gpu", "chosen"), [(False, "cpu"), (True, "cuda")])
def test_auto_takes_the_gpu_where_there_is_one(monkeypatch, has_gpu, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert choose_device("auto") == torch.device(chosen)


def test_names_are_what_they_say(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert {choose_device(name).type for name in DEVICES} == {"cpu", "cuda"}
    assert choose_device("cpu").type == "cpu"
    assert choose_device("cuda").type == "cuda"


@pytest.mark.parametrize(("build", "reason"), [(None, "is built without CUDA"), ("12.8", "finds no usable GPU")])
def test_cuda_without_a_gpu_is_refused_with_the_reason(monkeypatch, build, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", build)
    with pytest.raises(UsageError, match=f"^device 'cuda' is not usable here: this torch {reason}; use auto or cpu$"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:0", ""])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match=f"unknown device '{name}'; expected one of auto, cpu, cuda"):
        choose_device(name)
