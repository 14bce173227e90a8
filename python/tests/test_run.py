"""Model.run against ONNX Runtime, and what it takes and refuses."""

import threading
import time

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import QUICK, network
from onnx import TensorProto, helper

import ampoule_ai as ampoule

F32 = TensorProto.FLOAT


def reference(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs)))


def agree(path, inputs, tolerance=1e-5):
    wanted = reference(path, inputs)
    found = ampoule.Model.open(path, threads=2).run(inputs)
    assert list(found) == list(wanted)
    for name, want in wanted.items():
        got = found[name]
        assert (got.shape, got.dtype) == (want.shape, want.dtype), name
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * max(1, np.abs(want).max()))


def numbers(*shape, seed=1):
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def test_the_small_network(tmp_path):
    # Its softmax has steep inputs, of up to some hundred: what is compared to 1e-5 of the largest is those, and what is made of
    # them may differ by a quarter of what they differ by.
    model = onnx.load(QUICK / "discs.onnx")
    model.graph.output.append(helper.make_tensor_value_info("logits", F32, ["n", 2, "h", "w"]))
    onnx.save(model, tmp_path / "logits.onnx")
    for size in ((1, 3, 64, 64), (1, 3, 37, 50)):
        image = {"image": numbers(*size)}
        wanted = reference(tmp_path / "logits.onnx", image)
        found = ampoule.Model.open(tmp_path / "logits.onnx").run(image)
        bound = 1e-5 * np.abs(wanted["logits"]).max()
        assert np.abs(found["logits"] - wanted["logits"]).max() < bound
        assert np.abs(found["prob"] - wanted["prob"]).max() < bound / 4


def test_a_residual_network_of_two_inputs(tmp_path):
    nodes = [
        helper.make_node("Conv", ["a", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["r", "b"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["pooled"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["class"], axis=1, keepdims=0),
    ]
    path = network(
        tmp_path / "two.onnx",
        nodes,
        [("a", F32, [1, 5, "h", "w"]), ("b", F32, [1, 6, "h", "w"])],
        [("logits", F32, [1, 4]), ("class", TensorProto.INT64, [1]), ("pooled", F32, [1, 6, "hh", "ww"])],
        {"w": numbers(6, 5, 3, 3), "m": numbers(6, 4, seed=2)},
    )
    a, b = numbers(1, 5, 24, 20), numbers(1, 6, 24, 20, seed=3)
    agree(path, {"a": a, "b": b})
    # In either order, and named in the error where one is missing.
    model = ampoule.Model.open(path)
    assert [i.name for i in model.inputs] == ["a", "b"]
    assert model.inputs[0].shape == (1, 5, "h", "w")
    np.testing.assert_array_equal(model.run({"b": b, "a": a})["logits"], model.run({"a": a, "b": b})["logits"])
    with pytest.raises(ampoule.UsageError, match="`b` is given 0 times"):
        model.run({"a": a})
    with pytest.raises(ampoule.UsageError, match="inputs a, b"):
        model.run(a)


def test_a_network_of_volumes(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 6, strides=[2, 2, 2]),
        helper.make_node("InstanceNormalization", ["c", "one", "zero"], ["n"]),
        helper.make_node("LeakyRelu", ["n"], ["l"], alpha=0.01),
        helper.make_node("ConvTranspose", ["l", "u"], ["y"], strides=[2, 2, 2]),
    ]
    path = network(
        tmp_path / "volume.onnx",
        nodes,
        [("x", F32, [1, 2, 16, 12, 20])],
        [("y", F32, [1, 3, 16, 12, 20])],
        {
            "w": numbers(8, 2, 3, 3, 3),
            "u": numbers(8, 3, 2, 2, 2, seed=4),
            "one": np.ones(8, np.float32),
            "zero": np.zeros(8, np.float32),
        },
    )
    agree(path, {"x": numbers(1, 2, 16, 12, 20)})


class Exporter:
    """What another library hands over: nothing but DLPack."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **how):
        return self._array.__dlpack__(**how)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_arrays_of_any_layout_and_library_give_the_same(discs):
    plain = numbers(1, 3, 40, 32)
    want = discs.run(plain)["prob"]
    assert want.flags.c_contiguous and want.flags.writeable
    turned = np.ascontiguousarray(plain.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    wide = np.zeros((1, 3, 40, 64), np.float32)
    wide[..., ::2] = plain
    shifted = np.frombuffer(b"\0" + plain.tobytes(), np.uint8)[1:].view(np.float32).reshape(plain.shape)
    same = [Exporter(plain), turned, wide[..., ::2], plain.astype(np.float64), plain.tolist(), shifted, plain.astype(">f4")]
    for given in same:
        np.testing.assert_array_equal(discs.run(given)["prob"], want)
    # DLPack out, too.
    np.testing.assert_array_equal(np.from_dlpack(discs.run(plain)["prob"]), want)


def test_pixels_as_whole_numbers(discs):
    pixels = np.random.default_rng(5).integers(0, 255, (1, 3, 32, 32), dtype=np.uint8)
    np.testing.assert_array_equal(discs.run(pixels)["prob"], discs.run(pixels.astype(np.float32))["prob"])


def test_what_is_wrong_is_named(discs):
    image = numbers(1, 3, 16, 16)
    cases = [
        ({"picture": image}, "`picture`.*image"),
        ({"image": image[:, :2]}, r"\[1, 3, h, w\]"),
        (image.astype(complex), "complex128"),
        (np.array(["a"]), "numbers are needed"),
        (np.full((1, 3, 16, 16), 1 << 25), "16777216"),
        (object(), "object"),
        (Exporter(image.astype(complex)), "complex"),
    ]
    for given, says in cases:
        with pytest.raises(ampoule.UsageError, match=says) as e:
            discs.run(given)
        assert e.value.code == 2
    with pytest.raises(ampoule.AmpouleError):
        discs.run(image[:, :, :0])
    assert discs.run(image)["prob"].shape == (1, 2, 16, 16)


def test_errors_have_the_codes_of_the_command_line(tmp_path, discs):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a network")
    opened = [
        (lambda: ampoule.Model.open(tmp_path / "none.onnx"), ampoule.BadInput, 3),
        (lambda: ampoule.Model.open(bad), ampoule.BadInput, 3),
        (lambda: ampoule.Model.open("deepbed"), ampoule.UsageError, 2),
        (lambda: ampoule.Model.open(QUICK / "discs.onnx", isa="abacus"), ampoule.UsageError, 2),
        (lambda: ampoule.Model.open(QUICK / "discs.onnx", precision="fp8"), ampoule.UsageError, 2),
        (lambda: ampoule.Model.open(QUICK / "discs.onnx", max_ram="lots"), ampoule.UsageError, 2),
        (lambda: ampoule.Model.open(QUICK / "discs.onnx", recipe="no such recipe"), ampoule.UsageError, 2),
        (lambda: ampoule.Model.open(QUICK / "discs.onnx", threads=-1), ampoule.UsageError, 2),
        (lambda: ampoule.Model.open(QUICK / "discs.onnx").predict("x.png"), ampoule.BadInput, 3),
    ]
    for call, kind, code in opened:
        with pytest.raises(kind) as e:
            call()
        assert e.value.code == code and isinstance(e.value, ampoule.AmpouleError)
    small = ampoule.Model.open(QUICK / "discs.onnx", max_ram="1M")
    with pytest.raises(ampoule.OutOfMemory) as e:
        small.run(numbers(1, 3, 512, 512))
    assert e.value.code == 5 and isinstance(e.value, MemoryError)


def test_other_threads_run_meanwhile(tmp_path):
    nodes, constants, last = [], {}, "x"
    for i in range(6):
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"y{i}"], pads=[1, 1, 1, 1]))
        constants[f"w{i}"] = numbers(64, 64, 3, 3, seed=i) / 24
        last = f"y{i}"
    shape = [1, 64, 256, 256]
    path = network(tmp_path / "deep.onnx", nodes, [("x", F32, shape)], [(last, F32, shape)], constants)
    model = ampoule.Model.open(path, threads=1)
    model.run(numbers(*shape))
    count, going = 0, True

    def tick():
        nonlocal count
        while going:
            count += 1
            time.sleep(0.001)

    other = threading.Thread(target=tick)
    other.start()
    before, begun = count, time.perf_counter()
    model.run(numbers(*shape))
    ticks, took = count - before, time.perf_counter() - begun
    going = False
    other.join()
    # An interpreter that is held lets nobody tick.
    assert ticks > 5, f"{ticks} ticks in {took:.3f} s"


def test_one_model_in_several_threads(discs):
    images = [numbers(1, 3, 32, 32, seed=i) for i in range(8)]
    want = [discs.run(i)["prob"] for i in images]
    found = [None] * 8

    def work(i):
        found[i] = discs.run(images[i])["prob"]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for a, b in zip(want, found):
        np.testing.assert_array_equal(a, b)


def test_options_change_how_and_not_what():
    image = numbers(1, 3, 64, 64)
    of = lambda **o: ampoule.Model.open(QUICK / "discs.onnx", **o).run(image)["prob"]
    one = of(threads=1)
    np.testing.assert_array_equal(of(threads=2), one)
    # Without fused multiply-add, products round too.
    np.testing.assert_allclose(of(isa="scalar"), one, atol=5e-5)
    # bfloat16 has eight bits: close on the whole, and not the same.
    far = np.abs(of(precision="bf16") - one)
    assert far.max() > 0 and far.mean() < 0.01


def test_the_model_inside_the_package():
    model = ampoule.Model.open("deepbet")
    assert model.recipe.name == "deepbet" and [l.name for l in model.labels] == ["brain"]
    assert len(model.sha256) == 64
    assert any("float16" in n for n in model.notes)


def test_models_are_pickled_by_how_they_were_opened(discs):
    import pickle

    image = numbers(1, 3, 16, 16)
    other = pickle.loads(pickle.dumps(discs))
    np.testing.assert_array_equal(other.run(image)["prob"], discs.run(image)["prob"])
    assert other.recipe == discs.recipe


def test_a_model_is_written_with_its_recipe(tmp_path, discs):
    path = tmp_path / "with.onnx"
    discs.write(path)
    again = ampoule.Model.open(path)
    assert again.recipe == discs.recipe
    tile = QUICK / "test/test01.png"
    np.testing.assert_array_equal(again.predict(tile).labels, discs.predict(tile).labels)
    with pytest.raises(ampoule.UsageError, match="overwrite"):
        discs.write(path)
