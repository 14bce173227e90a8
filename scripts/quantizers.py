"""Other tools' quantizers, as their documentation has it, on the calibration tensors given."""

import onnxruntime as ort


def ort_quantized(source, target, inputs, form):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = in_name(source)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rows = iter([{name: x} for x in inputs])

        def get_next(self):
            return next(self.rows, None)

    prepared = target.with_suffix(".prep.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(target), Reader(), quant_format=QuantFormat.QDQ if form == "qdq" else QuantFormat.QOperator,
        per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )


def in_name(model):
    return ort.InferenceSession(str(model), providers=["CPUExecutionProvider"]).get_inputs()[0].name


def nncf_quantized(source, target, inputs):
    import nncf
    import onnx

    model = onnx.load(str(source))
    data = nncf.Dataset(list(inputs), lambda x: {in_name(source): x})
    onnx.save(nncf.quantize(model, data, subset_size=len(inputs)), str(target))
