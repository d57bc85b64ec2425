"""`foveal predict --engine` and `--compile`: the same results, or one sentence."""

import json

import numpy as np
import pytest

from foveal.cli.main import main
from foveal.core import engine_options


@pytest.fixture
def predict(digits_run, digit_files, tmp_path):
    """The function that predicts the digits: (folder for the results, options) to exit code and lines."""

    def run(name: str, *options: str) -> tuple[int, list[dict]]:
        out = tmp_path / name
        line = ["predict", str(digits_run), str(digit_files), "--out", str(out), "--num-workers", "0"]
        code = main([*line, "--batch-size", "5", *options])
        results = out / "predictions.jsonl"
        return code, [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []

    return run


@pytest.mark.parametrize(
    "options",
    [
        ("--engine", "onnx"),
        ("--engine", "openvino"),
        pytest.param(("--compile",), marks=pytest.mark.apart),
        ("--engine", "openvino", "--precision", "bf16"),
    ],
    ids=" ".join,
)
def test_a_folder_gets_the_same_results(options, predict, tmp_path, capsys):
    assert predict("plain")[0] == 0
    code, lines = predict("engine", *options)
    assert code == 0
    wanted = predict("plain")[1]
    assert [line["path"] for line in lines] == [line["path"] for line in wanted]
    assert [line["names"][0] for line in lines] == [line["names"][0] for line in wanted]
    loose = 0.02 if "bf16" in options else 1e-5
    np.testing.assert_allclose(
        [line["scores"][0] for line in lines], [line["scores"][0] for line in wanted], atol=loose
    )
    used = json.loads((tmp_path / "engine" / "summary.json").read_text())["versions"]
    assert ("onnxruntime" in used) == ("onnx" in options) and ("openvino" in used) == ("openvino" in options)


def test_what_another_engine_left_is_not_overwritten(predict, capsys):
    assert predict("one", "--engine", "onnx")[0] == 0
    assert predict("one", "--engine", "onnx")[0] == 0
    assert "Done already" in capsys.readouterr().out
    assert predict("one")[0] == 2
    assert 'engine "onnx", now "torch"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--engine", "openvino", "--compile"), "--compile is of torch's own engine; leave it out, or --engine"),
        (("--engine", "openvino", "--device", "cuda"), "--engine openvino computes on the CPU; give --device cpu"),
        (("--engine", "onnx", "--precision", "bf16"), "--engine onnx computes in 32 bits; leave out --precision bf16"),
        (("--engine", "tensorrt"), "argument --engine: invalid choice: 'tensorrt'"),
    ],
)
def test_what_does_not_go_together_is_a_sentence(options, sentence, digits_run, digit_files, tmp_path, capsys):
    assert main(["predict", str(digits_run), str(digit_files), "--out", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_said_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine_options, "find_spec", lambda name: None)
    assert main(["predict", str(tmp_path / "none.ckpt"), str(tmp_path), "--engine", "openvino"]) == 2
    assert "not installed: pip install 'foveal[openvino]'" in capsys.readouterr().err


def test_a_network_that_can_not_be_exported_is_a_sentence(predict, monkeypatch, tmp_path, capsys):
    def export(*_arguments, **_options):
        raise ValueError("exports are off")

    monkeypatch.setattr("torch.export.export", export)
    monkeypatch.setenv("FOVEAL_CACHE", str(tmp_path / "empty"))
    assert predict("refused", "--engine", "onnx") == (2, [])
    assert "--engine onnx can't take this network (ValueError: exports are off)" in capsys.readouterr().err
    assert not (tmp_path / "refused").exists()
