"""OpenCV's YuNet with a model made by hand, which finds one face at a place that is known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foveal.core.errors import ModelFileError
from foveal.tasks.faces.detector import build_detector

_SIDE = 64  # pixels, of the only images for which the model's maps have the right size


def write_model(path, score=0.96):
    """A network with YuNet's twelve outputs, all 0 but for one cell of stride 16, in row 1 and column 2.

    That cell's face has its middle at (2.5, 1.5) cells, 40 and 24 pixels, is 2 and 1 cells large, and has landmarks at
    n tenths of a cell to the right and 0 below the cell's corner.
    """
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes, outputs, constants = [helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0)], [], [zero]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    for stride in (8, 16, 32):
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            values = np.zeros((1, (_SIDE // stride) ** 2, width), np.float32)
            if stride == 16:
                face = {"cls": score, "obj": score, "bbox": (0.5, 0.5, np.log(2), 0), "kps": np.arange(10) / 10}
                values[0, 1 * 4 + 2] = face[name]
            constants.append(numpy_helper.from_array(values, f"{name}{stride}"))
            nodes.append(helper.make_node("Add", [f"{name}{stride}", "nothing"], [f"{name}_{stride}"]))
            outputs.append(helper.make_tensor_value_info(f"{name}_{stride}", TensorProto.FLOAT, values.shape))
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])
    graph = helper.make_graph(nodes, "yunet", [given], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_box_score_and_landmarks_are_where_the_model_says(tmp_path):
    detector = build_detector("yunet", write_model(tmp_path / "model.onnx"), min_face=10)
    (face,) = detector.detect(np.full((_SIDE, _SIDE, 3), 90, np.uint8))
    assert face.box == pytest.approx([24, 16, 56, 32], abs=1e-4)
    assert face.score == pytest.approx(0.96)
    wanted = [(2 * 16 + 1.6 * n, 16 + 1.6 * (n + 1)) for n in (0, 2, 4, 6, 8)]
    assert face.landmarks == pytest.approx(np.array(wanted), abs=1e-4)


def test_small_and_doubtful_faces_are_left_out(tmp_path):
    image, model = np.zeros((_SIDE, _SIDE, 3), np.uint8), write_model(tmp_path / "model.onnx", score=0.6)
    assert build_detector("yunet", model).detect(image) == []
    assert len(build_detector("yunet", model, score=0.5).detect(image)) == 1
    assert build_detector("yunet", model, score=0.5, min_face=33).detect(image) == []


def test_a_large_image_is_reduced_and_places_are_those_of_the_image(tmp_path, monkeypatch):
    monkeypatch.setattr("foveal.tasks.faces.yunet._LARGEST_SIDE", _SIDE)
    detector = build_detector("yunet", write_model(tmp_path / "model.onnx"))
    (face,) = detector.detect(np.zeros((3 * _SIDE, 3 * _SIDE, 3), np.uint8))
    assert face.box == pytest.approx([72, 48, 168, 96], abs=1e-3)
    assert face.landmarks[0] == pytest.approx([96, 52.8], abs=1e-3)


def test_what_is_no_such_model_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no file"):
        build_detector("yunet", tmp_path / "no.onnx")
    (tmp_path / "model.pt").touch()
    with pytest.raises(ModelFileError, match="ONNX"):
        build_detector("yunet", tmp_path / "model.pt")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match="no model of YuNet"):
        build_detector("yunet", tmp_path / "bad.onnx")
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])
    given_back = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, _SIDE, _SIDE])
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "other", [given], [given_back])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelFileError, match="no model of YuNet"):
        build_detector("yunet", tmp_path / "other.onnx")
