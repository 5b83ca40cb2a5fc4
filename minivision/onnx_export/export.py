"""Networks in a file that others can run: ONNX (onnx.ai), read by onnxruntime, TensorRT, OpenVINO and browsers."""

from functools import partial
from pathlib import Path

import numpy as np

from minivision import ops
from minivision.backend import to_device
from minivision.models import SSD, YOLO, Classifier, FasterRCNN, YOLOv1
from minivision.nn import Module
from minivision.onnx_export.trace import Part, translated
from minivision.tensor import Tensor, no_grad
from minivision.weights.files import write_atomically

OUTPUTS = {Classifier: ("scores",), SSD: ("scores", "offsets"), YOLO: ("t",), YOLOv1: ("grid",)}
OPSETS = range(16, 22)


def export_onnx(model, path, shape, *, opset=17):
    """Write a network as ONNX, in evaluation and float32; returns the [paths] written. shape (N,C,H,W): of the images.

        input x (N,C,H,W)       outputs: the Tensors that model(x) returns

    scores of a classifier; scores and offsets of an SSD; t of a YOLO; grid of a YOLO v1: raw, as `forward` documents them. Decoding
    and suppression are not in the file; default boxes, priors and strides are the arrays that model(x) returns beside the Tensors.
    The graph takes any number of images N (where the network itself depends on it, only the N given), of H×W pixels.

    Between its two stages a Faster R-CNN decides on arrays, so it becomes two files, for a path name.onnx:

        name.proposals.onnx     x → map_0, map_1, … (those that RoIs are cut from), objectness (N,R), offsets (N,R,4): see `RPN`
        name.heads.onnx         map_k, boxes_k (R_k,4), images_k (R_k) int64, for each map k the RoIs that `RoIHeads.level`
                                sends there → scores (R,K+1), offsets (R,K+1,4), R = Σ R_k, those of map 0 first

    Parameters and running averages keep their names. ValueError: an op without translation, numbers taken past the ops, a network
    that takes no such images, or no `onnx` to write with.
    """
    onnx = library()
    if not isinstance(model, Module):
        raise ValueError(f"a {type(model).__name__} is not a network: expected an nn.Module")
    if len(shape) != 4 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in shape):
        raise ValueError(f"shape is {shape!r}; expected (N,C,H,W), four whole numbers above 0")
    if opset not in OPSETS:
        raise ValueError(f"opset is {opset}; expected {OPSETS[0]} … {OPSETS[-1]}")
    path = Path(path)
    with model.evaluating(), no_grad(), np.errstate(all="ignore"):
        if isinstance(model, FasterRCNN):
            parts = {path.with_name(f"{path.stem}.{name}.onnx"): part for name, part in two_stages(model, shape).items()}
        else:
            names = next((names for kind, names in OUTPUTS.items() if isinstance(model, kind)), ())
            parts = {path: Part(model, partial(images, model, shape), {"x": "N"}, names)}
        files = {path: as_bytes(onnx, translated(model, part, opset), opset) for path, part in parts.items()}
    for path, data in files.items():
        write_atomically(path, data)
    return list(files)


def images(model, shape, rng, more):
    x = rng.standard_normal((shape[0] + more, *shape[1:]), dtype=np.float32)
    return {"x": Tensor(to_device(x, model.device))}


def two_stages(model, shape):
    heads, levels = model.roi_heads, range(len(model.roi_heads.strides))

    def propose(x):
        maps = model.backbone(x)
        scores, offsets, *_ = model.rpn(maps)
        return *maps[:len(levels)], scores, offsets

    def answer(*inputs):
        maps, boxes, image = inputs[0::3], inputs[1::3], inputs[2::3]
        cut = [heads.cut(m, boxes=b, image=i, size=heads.settings.size, scale=1 / stride, **heads.options)
               for m, b, i, stride in zip(maps, boxes, image, heads.strides)]
        scores, offsets = heads.box_predictor(heads.box_head(ops.concat(*cut, axis=0)))
        return scores, offsets.reshape(scores.shape[0], heads.classes + 1, 4)

    shapes = [m.shape for m in model.backbone(images(model, shape, np.random.default_rng(0), 0)["x"])]

    def regions(rng, more):
        """RoIs of each map, and of each map another number of them, so that the two runs tell their axes apart."""
        found = {}
        for k in levels:
            N, R, m = shape[0] + more, 2 + k + more * (k + 2), (shape[0] + more, *shapes[k][1:])
            corner = rng.random((R, 2)) * np.array([shape[3], shape[2]]) / 2
            found[f"map_{k}"] = Tensor(to_device(rng.standard_normal(m, dtype=np.float32), model.device))
            found[f"boxes_{k}"] = to_device(np.float32(np.concatenate([corner, corner * 2], axis=1)), model.device)
            found[f"images_{k}"] = to_device(rng.integers(0, N, R), model.device)
        return found

    axes = {f"{name}_{k}": axis for k in levels for name, axis in (("map", "N"), ("boxes", f"R_{k}"), ("images", f"R_{k}"))}
    maps = tuple(f"map_{k}" for k in levels)
    return {"proposals": Part(propose, partial(images, model, shape), {"x": "N"}, (*maps, "objectness", "offsets")),
            "heads": Part(answer, regions, axes, ("scores", "offsets"))}


def library():
    try:
        import onnx
        return onnx
    except ImportError:
        raise ValueError("ONNX files are written with the package onnx: pip install 'minivision[onnx]'") from None


def as_bytes(onnx, translator, opset):
    """The file: checked, and the same bytes for the same network."""
    helper, kinds = onnx.helper, {"f": onnx.TensorProto.FLOAT, "i": onnx.TensorProto.INT64}
    graph, used = translator.graph, {x for _, inputs, *_ in translator.graph.nodes for x in inputs}
    described = [[helper.make_tensor_value_info(name, kinds[kind], dims) for name, dims, kind in infos]
                 for infos in (translator.inputs, translator.outputs)]
    constants = [onnx.numpy_helper.from_array(np.asarray(x, np.int64 if x.dtype.kind in "iu" else np.float32, order="C"), name)
                 for name, x in graph.initialisers.items() if name in used]
    nodes = [helper.make_node(kind, inputs, [output], name=output, **options) for kind, inputs, output, options in graph.nodes]
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(helper.make_graph(nodes, "minivision", *described, constants), producer_name="minivision",
                              opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
