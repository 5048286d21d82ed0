"""Where a model runs and in which numbers, when nobody says."""

import pytest
import torch

from chains import LocalChat
from chains.models import device
from tests import tiny


@pytest.fixture(params=["bfloat16", "float16", "float32"])
def saved(request, tmp_path):
    """A folder whose weights are of that type."""
    tiny.model("llama").to(getattr(torch, request.param)).save_pretrained(tmp_path)
    tiny.words().save_pretrained(tmp_path)
    return request.param, tmp_path


@pytest.mark.parametrize("native", [True, False])
def test_half_precision_stays_where_the_machine_multiplies_it(saved, native, monkeypatch):
    kind, folder = saved
    monkeypatch.setattr(device, "multiplies_bfloat16", lambda device: native)
    llm = LocalChat(folder, temperature=0, max_tokens=3, device="cpu")
    assert llm.invoke("hello").usage_metadata["output_tokens"] <= 3
    assert llm.engine.model.dtype == (torch.bfloat16 if native and kind != "float32" else torch.float32)


def test_a_type_that_is_asked_for_is_taken(saved):
    _, folder = saved
    assert LocalChat(folder, dtype="float32", device="cpu").engine.model.dtype == torch.float32
    assert LocalChat(folder, dtype="bfloat16", device="cpu").engine.model.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "text, expected",
    [
        ("flags\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t: fpu avx2 avx512f\n", False),
        ("Features\t: fp asimd bf16\n", True),
        (None, False),
    ],
)
def test_what_a_cpu_says_of_itself(text, expected, monkeypatch, tmp_path):
    told = tmp_path / "cpuinfo"
    if text is not None:
        told.write_text(text)
    monkeypatch.setattr(device, "CPU", told)
    device.multiplies_bfloat16.cache_clear()
    try:
        assert device.multiplies_bfloat16("cpu") is expected
    finally:
        device.multiplies_bfloat16.cache_clear()
