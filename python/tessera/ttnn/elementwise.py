"""One output per element: unary functions, two operands with broadcasting, comparisons, gated units, running sums and reductions."""

from __future__ import annotations

import math

from tessera import _tessera
from tessera.ttnn import golden
from tessera.ttnn.enums import BLOCK_FLOATS, FLOATS, DataType, GeluVariant, Layout, SigmoidMode, float32, int32, uint16, uint32
from tessera.ttnn.configs import UnaryOpType, UnaryWithParam
from tessera.ttnn.memory import DRAM_MEMORY_CONFIG, MemoryConfig
from tessera.ttnn.movement import _dim, _numbers, _piece
from tessera.ttnn.registry import COMPUTED, bad_tensor, check_kind, check_on_device, check_tensor, each, finish, operation, quantised, record
from tessera.ttnn.tensor import Tensor

_D = _tessera.DType
_unary, _unary_into = _tessera.unary, _tessera.unary_into
_binary, _binary_scalar = _tessera.binary, _tessera.binary_scalar
_make = Tensor._make

# What an activation without parameters is given for its two.
DEFAULTS = {
    "leaky_relu": (0.01,),
    "elu": (1.0,),
    "celu": (1.0,),
    "hardtanh": (-1.0, 1.0),
    "clip": (float("-inf"), float("inf")),
    "hardshrink": (0.5,),
    "softshrink": (0.5,),
    "softplus": (1.0, 20.0),
    "threshold": (0.0, 0.0),
    "heaviside": (0.0,),
    "xielu": (0.8, 0.8),
}
_STRINGS = {"gelu_approx": "gelu_tanh", "swish": "silu", "sigmoid_approx": "sigmoid", "recip": "reciprocal"}


def activation_of(name: str, value):
    """(name of the function, a, b) of "relu", of UnaryWithParam or of UnaryOpType; None for None. RuntimeError for what is unknown."""
    if value is None:
        return None
    params = ()
    if isinstance(value, UnaryWithParam):
        value, params = value.op_type, value.params
    if isinstance(value, UnaryOpType):
        word = value.value
    elif isinstance(value, str):
        word = _STRINGS.get(value.lower(), value.lower())
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        return activation_of(name, UnaryWithParam(*value))
    else:
        raise TypeError(f"{name}(): incompatible function arguments. activation: expected a name or a UnaryWithParam, got {value!r}")
    if word == "gelu" and params and params[0] == 2:
        word = "gelu_tanh"
    try:
        number = _tessera.unary_number(word)
    except RuntimeError:
        raise RuntimeError(f"[{name}] expected an activation such as relu, silu or gelu, got {value!r}") from None
    if word in DEFAULTS:
        a, b = ((params or DEFAULTS[word]) + (0.0, 0.0))[:2]
    else:
        a = b = 0.0
    return word, number, a, b


def apply_activations(name, parts, activations):
    """Parts through a chain of activations, each of the parts' own dtype."""
    for value in activations or ():
        _, number, a, b = activation_of(name, value)
        parts = tuple(_unary(p, number, a, b, p.dtype) for p in parts)
    return parts


def _unary_call(name, op, tensor, a, b, memory_config, output_tensor, dtype=None):
    number = _NUMBERS[op]
    if type(tensor) is not Tensor or tensor._parts is None or tensor._device is None:
        check_on_device(name, tensor)
    device = tensor._device
    if device._closed:
        check_on_device(name, tensor)
    new = tensor._dtype if dtype is None else dtype
    device._program(name, (tensor._key or tensor._spec(), a, b))
    parts = tensor._parts
    if len(parts) == 1 and memory_config is None and output_tensor is None and new not in BLOCK_FLOATS:
        return _make((_unary(parts[0], number, a, b, COMPUTED[new]),), new, tensor._layout, tensor._memory_config, device)
    parts = each(lambda p: _unary(p, number, a, b, COMPUTED[new]), tensor)
    return finish(name, parts, new, tensor._layout, memory_config or tensor._memory_config, device, output_tensor)


_UNARY = (
    "abs neg sign square sqrt rsqrt reciprocal exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh erf erfc lgamma "
    "log_sigmoid relu relu6 silu mish softsign tanhshrink hardsigmoid hardswish floor ceil round trunc isnan isinf isfinite logical_not selu"
).split()
_NUMBERS = {op: _tessera.unary_number(op) for op in [*_UNARY, "identity", "sigmoid", "gelu", "gelu_tanh", *DEFAULTS]}


def _define_unary(op):
    name = f"ttnn.{op}"

    def function(input_tensor, *, memory_config=None, output_tensor=None, fast_and_approximate_mode=None, vector_mode=None, sub_core_grids=None, queue_id=0):
        return _unary_call(name, op, input_tensor, 0.0, 0.0, memory_config, output_tensor)

    function.__name__ = function.__qualname__ = op
    function.__doc__ = f"{op} of every element."
    return operation(name, golden=getattr(golden, op), page="unary")(function)


for _op in _UNARY:
    globals()[_op] = _define_unary(_op)


@operation("ttnn.identity", golden=golden.identity, page="unary")
def identity(input_tensor, *, memory_config=None, output_tensor=None):
    """The elements themselves, copied."""
    return _unary_call("ttnn.identity", "identity", input_tensor, 0.0, 0.0, memory_config, output_tensor)


@operation("ttnn.swish", golden=golden.silu, page="unary")
def swish(input_tensor, *, memory_config=None, output_tensor=None):
    """silu()."""
    return _unary_call("ttnn.swish", "silu", input_tensor, 0.0, 0.0, memory_config, output_tensor)


@operation("ttnn.sigmoid", golden=golden.sigmoid, page="unary", deviation="Always accurate: mode and vector_mode are recorded.")
def sigmoid(input_tensor, *, vector_mode=4, mode=SigmoidMode.Accurate, fast_and_approximate_mode=False, memory_config=None, output_tensor=None):
    """1 / (1 + exp(-x))."""
    check_kind("ttnn.sigmoid", "mode", mode, SigmoidMode)
    return _unary_call("ttnn.sigmoid", "sigmoid", input_tensor, 0.0, 0.0, memory_config, output_tensor)


@operation("ttnn.sigmoid_accurate", golden=golden.sigmoid, page="unary")
def sigmoid_accurate(input_tensor, *, memory_config=None, output_tensor=None, **_recorded):
    """sigmoid()."""
    return _unary_call("ttnn.sigmoid_accurate", "sigmoid", input_tensor, 0.0, 0.0, memory_config, output_tensor)


@operation("ttnn.gelu", golden=golden.gelu, page="unary", deviation="The erf form unless variant is Tanh: there is no approximate table.")
def gelu(input_tensor, *, fast_and_approximate_mode=False, variant=None, memory_config=None, output_tensor=None):
    """x Φ(x), by erf; GeluVariant.Tanh: by tanh."""
    check_kind("ttnn.gelu", "variant", variant, GeluVariant)
    op = "gelu_tanh" if variant is GeluVariant.Tanh else "gelu"
    return _unary_call("ttnn.gelu", op, input_tensor, 0.0, 0.0, memory_config, output_tensor)


def _number(name, what, value):
    if isinstance(value, bool) or not isinstance(value, (int, float)) and not hasattr(value, "__float__"):
        raise TypeError(f"{name}(): incompatible function arguments. {what}: expected a number, got {value!r}")
    return float(value)


def _define_parametric(op, parameters, doc):
    name = f"ttnn.{op}"

    def function(input_tensor, *values, memory_config=None, output_tensor=None, **named):
        given = dict(zip((p for p, _ in parameters), values))
        if len(values) > len(parameters) or set(named) - {p for p, _ in parameters} or set(named) & set(given):
            raise TypeError(f"{name}(): incompatible function arguments. expected {', '.join(p for p, _ in parameters)}, got {list(values)} {named}")
        given.update(named)
        a, b = ([_number(name, p, given.get(p, d)) for p, d in parameters] + [0.0, 0.0])[:2]
        return _unary_call(name, op, input_tensor, a, b, memory_config, output_tensor)

    function.__name__ = function.__qualname__ = op
    function.__doc__ = doc
    return operation(name, golden=getattr(golden, op), page="unary")(function)


leaky_relu = _define_parametric("leaky_relu", [("negative_slope", 0.01)], "x, or negative_slope x below 0.")
elu = _define_parametric("elu", [("alpha", 1.0)], "x, or alpha (exp(x) - 1) below 0.")
celu = _define_parametric("celu", [("alpha", 1.0)], "x, or alpha (exp(x / alpha) - 1) below 0.")
hardtanh = _define_parametric("hardtanh", [("min_val", -1.0), ("max_val", 1.0)], "x between min_val and max_val.")
hardshrink = _define_parametric("hardshrink", [("lambd", 0.5)], "x, or 0 from -lambd to lambd.")
softshrink = _define_parametric("softshrink", [("lambd", 0.5)], "x - lambd above lambd, x + lambd below -lambd, else 0.")
softplus = _define_parametric("softplus", [("beta", 1.0), ("threshold", 20.0)], "log(1 + exp(beta x)) / beta; x where beta x is above threshold.")
threshold = _define_parametric("threshold", [("threshold", 0.0), ("value", 0.0)], "x, or value where x is not above threshold.")
heaviside = _define_parametric("heaviside", [("value", 0.0)], "0 below 0, 1 above, value at 0.")
xielu = _define_parametric("xielu", [("alpha_p", 0.8), ("alpha_n", 0.8)], "The xIELU activation.")


@operation("ttnn.clip", golden=golden.clip, page="unary", aliases=("ttnn.clamp",))
def clip(input_tensor, min=None, max=None, *, memory_config=None, output_tensor=None):
    """x between min and max, numbers or tensors; None: no bound."""
    name = "ttnn.clip"
    if min is None and max is None:
        raise RuntimeError(f"[{name}] expected a bound, got none: Only one of 'min' or 'max' can be None. Please provide one value")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        low = input_tensor if min is None else maximum(input_tensor, min)
        return low if max is None else minimum(low, max, memory_config=memory_config, output_tensor=output_tensor)
    a = float("-inf") if min is None else _number(name, "min", min)
    b = float("inf") if max is None else _number(name, "max", max)
    return _unary_call(name, "clip", input_tensor, a, b, memory_config, output_tensor)


clamp = clip

# ---- two operands


def _operands(name, a, b, dtype):
    """The dtype of the result, with both operands in dtypes that the library adds: floats mix; integers are of one dtype, or go with floats as floats."""
    da, db = a._dtype, b._dtype
    if da is db or (da in FLOATS and db in FLOATS):
        return a, b
    from tessera.ttnn.convert import cast_part

    if da not in FLOATS and db not in FLOATS:
        wide = int32 if int32 in (da, db) else uint32 if uint32 in (da, db) else uint16
    else:
        wide = float32
    def widened(t):
        return t if t._dtype is wide else _make(tuple(cast_part(p, wide) for p in t._parts), wide, t._layout, t._memory_config, t._device)
    return widened(a), widened(b)


def _is_number(value):
    return isinstance(value, (int, float)) or hasattr(value, "__float__") and not getattr(value, "ndim", 0)


def _binary_call(name, op, a, b, memory_config=None, dtype=None, output_tensor=None, activations=None, before_a=None, before_b=None, in_place=False):
    if type(a) is not Tensor:
        if type(b) is Tensor and _is_number(a):
            return _reflected(name, op, a if isinstance(a, (int, float)) else float(a), b, memory_config, dtype)
        raise bad_tensor(name, "input_tensor_a", a)
    if a._parts is None or a._device is None or a._device._closed:
        check_on_device(name, a)
    device, first = a._device, a
    if dtype is not None:
        from tessera.ttnn.convert import check_dtype

        check_dtype(name, dtype)
    new = a._dtype if dtype is None else dtype
    if type(b) is Tensor:
        if b._parts is None or b._device is not device:
            check_on_device(name, a, b)
        device._program(name, (a._key or a._spec(), b._key or b._spec(), new, memory_config))
        if a._dtype is not b._dtype:
            a, b = _operands(name, a, b, new)
        if before_a or before_b:
            a, b = a._like(apply_activations(name, a._parts, before_a)), b._like(apply_activations(name, b._parts, before_b))
        number, kept = _BINARY[op], _target(a, new, activations)
        pa, pb = a._parts, b._parts
        parts = (_binary(pa[0], pb[0], number, kept),) if len(pa) == len(pb) == 1 else each(lambda x, y: _binary(x, y, number, kept), a, b)
    else:
        if isinstance(b, bool) or not isinstance(b, (int, float)):
            if not _is_number(b):
                raise bad_tensor(name, "input_tensor_b", b)
            b = float(b)
        device._program(name, (a._key or a._spec(), new, memory_config))
        if a._dtype not in FLOATS and (op == "divide" or isinstance(b, float) and not b.is_integer()):
            from tessera.ttnn.convert import cast_part

            a = _make(tuple(cast_part(p, float32) for p in a._parts), float32, a._layout, a._memory_config, device)
        if before_a:
            a = a._like(apply_activations(name, a._parts, before_a))
        number, kept = _BINARY[op], _target(a, new, activations)
        parts = tuple(_binary_scalar(p, b, number, kept) for p in a._parts) if len(a._parts) == 1 else each(lambda x: _binary_scalar(x, b, number, kept), a)
    if activations:
        parts = apply_activations(name, parts, activations)
    if parts[0].dtype != COMPUTED[new]:
        from tessera.ttnn.convert import cast_part

        parts = tuple(cast_part(p, new) for p in parts)
    if in_place:
        if parts[0].shape != first._spec()[0]:
            raise RuntimeError(f"[{name}] expected a result of the first operand's shape {list(first.shape)}, got {list(parts[0].shape)}")
        first._replace(quantised(parts, new))
        return first
    if memory_config is None and output_tensor is None and new not in BLOCK_FLOATS:
        config = first._memory_config
        return _make(parts, new, first._layout, config if config is DRAM_MEMORY_CONFIG or parts[0].shape == first.shape else DRAM_MEMORY_CONFIG, device)
    config = memory_config or (first._memory_config if tuple(parts[0].shape) == tuple(first.shape) else None)
    return finish(name, parts, new, first._layout, config, device, output_tensor)


def _target(a, new, activations):
    """What the library is to write: floats of the result's dtype (float32 when more is to follow), or the integers of the operands."""
    if a._dtype in FLOATS and activations:
        return _D.float32
    if a._dtype in FLOATS:
        return COMPUTED[new] if new in FLOATS else _D.float32
    return COMPUTED[a._dtype]


_SWAPPED = {"add": "add", "multiply": "multiply", "subtract": "rsub", "eq": "eq", "ne": "ne", "lt": "gt", "gt": "lt", "le": "ge", "ge": "le",
            "maximum": "maximum", "minimum": "minimum"}


def _reflected(name, op, number, tensor, memory_config, dtype):
    if op in _SWAPPED:
        return _binary_call(name, _SWAPPED[op], tensor, number, memory_config, dtype)
    from tessera.ttnn.creation import full_like

    return _binary_call(name, op, full_like(tensor, number), tensor, memory_config, dtype)


_BINARY_OPS = (
    "add subtract rsub multiply divide power maximum minimum eq ne lt le gt ge logical_and logical_or logical_xor prelu bias_gelu "
    "bitwise_and bitwise_or bitwise_xor floor_divide remainder fmod squared_difference"
).split()
_BINARY = {op: _tessera.binary_number(op) for op in _BINARY_OPS}


def _define_binary(op, public=None, doc="", aliases=()):
    public = public or op
    name = f"ttnn.{public}"

    def function(
        input_tensor_a,
        input_tensor_b,
        *,
        memory_config=None,
        dtype=None,
        output_tensor=None,
        activations=None,
        input_tensor_a_activations=None,
        input_tensor_b_activations=None,
        use_legacy=None,
        fast_and_approximate_mode=None,
        rounding_mode=None,
        sub_core_grids=None,
        queue_id=0,
    ):
        if rounding_mode is not None:
            if op != "divide" or rounding_mode not in ("floor", "trunc"):
                raise RuntimeError(f"[{name}] rounding_mode: expected floor or trunc, for a division, got {rounding_mode!r}")
            activations = [rounding_mode, *(activations or ())]
        return _binary_call(
            name, op, input_tensor_a, input_tensor_b, memory_config, dtype, output_tensor, activations, input_tensor_a_activations, input_tensor_b_activations
        )

    function.__name__ = function.__qualname__ = public
    function.__doc__ = doc or f"{op} of a and b: a tensor that broadcasts, or a number. The result has a's dtype unless `dtype` says another."
    return operation(name, golden=getattr(golden, op), page="binary", aliases=aliases)(function)


def _define_in_place(op):
    name = f"ttnn.{op}_"

    def function(input_tensor_a, input_tensor_b, *, activations=None, input_tensor_a_activations=None, input_tensor_b_activations=None, use_legacy=None, sub_core_grids=None):
        return _binary_call(
            name, op, input_tensor_a, input_tensor_b, None, None, None, activations, input_tensor_a_activations, input_tensor_b_activations, in_place=True
        )

    function.__name__ = function.__qualname__ = f"{op}_"
    function.__doc__ = f"{op}() written over a, which is returned."
    return operation(name, golden=getattr(golden, op), page="binary")(function)


add = _define_binary("add")
subtract = _define_binary("subtract", aliases=("ttnn.sub",))
multiply = _define_binary("multiply", aliases=("ttnn.mul",))
divide = _define_binary("divide", aliases=("ttnn.div",))
rsub = _define_binary("rsub", doc="b - a.")
for _op in ("maximum minimum eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor floor_divide "
            "remainder fmod squared_difference bias_gelu").split():
    globals()[_op] = _define_binary(_op)
@operation("ttnn.prelu", golden=golden.prelu, page="binary")
def prelu(input_tensor, weight, *, memory_config=None, output_tensor=None):
    """x, or weight x below 0; the weight is a number, one number for each channel (dimension 1), or a tensor that broadcasts."""
    if isinstance(weight, Tensor) and isinstance(input_tensor, Tensor) and len(weight.shape) == 1 and len(input_tensor.shape) > 2:
        if weight.shape[0] == input_tensor.shape[1]:
            from tessera.ttnn.movement import reshape

            weight = reshape(weight, [1, weight.shape[0]] + [1] * (len(input_tensor.shape) - 2))
    return _binary_call("ttnn.prelu", "prelu", input_tensor, weight, memory_config, None, output_tensor)


pow = _define_binary("power", "pow", "a to the power of b, a number or a tensor.")
sub, mul, div, floor_div = subtract, multiply, divide, globals()["floor_divide"]
add_, subtract_, multiply_, divide_ = (_define_in_place(op) for op in ("add", "subtract", "multiply", "divide"))
sub_, mul_, div_ = subtract_, multiply_, divide_
maximum, minimum = globals()["maximum"], globals()["minimum"]


@operation("ttnn.where", golden=golden.where, page="binary")
def where(predicate, true_value, false_value, *, memory_config=None, output_tensor=None):
    """true_value where the predicate is not 0, else false_value; tensors that broadcast, or numbers."""
    name = "ttnn.where"
    device = check_on_device(name, predicate, *(v for v in (true_value, false_value) if isinstance(v, Tensor)))
    from tessera.ttnn.creation import full

    like = next((v for v in (true_value, false_value) if isinstance(v, Tensor)), predicate)
    a, b = (
        v if isinstance(v, Tensor) else full([1] * (len(like.shape) or 1), _number(name, "value", v), like._dtype, like._layout, device)
        for v in (true_value, false_value)
    )
    a, b = _operands(name, a, b, like._dtype)
    record(device, name, predicate._spec(), a._spec(), b._spec())
    parts = each(lambda c, x, y: _tessera.where(c, x, y, COMPUTED[a._dtype]), predicate, a, b)
    return finish(name, parts, a._dtype, like._layout, memory_config, device, output_tensor)


# ---- gated linear units: the first half of a dimension, times a function of the second


def _define_glu(public, op, form):
    name = f"ttnn.{public}"

    def function(input_tensor, dim=-1, *, memory_config=None):
        device = check_on_device(name, input_tensor)
        rank = len(input_tensor.shape)
        dim = _dim(name, dim, rank)
        if dim != rank - 1 or input_tensor.shape[dim] % 2:
            raise RuntimeError(f"[{name}] expected the last dimension, of an even size, got dimension {dim} of {list(input_tensor.shape)}")
        half = input_tensor.shape[dim] // 2
        record(device, name, input_tensor._spec(), dim)
        a, b = _piece(input_tensor, dim, 0, half), _piece(input_tensor, dim, half, 2 * half)
        number = _NUMBERS[op]
        parts = each(lambda x, y: _binary(x, _unary(y, number, 0.0, 0.0, _D.float32), _BINARY["multiply"], COMPUTED[input_tensor._dtype]), a, b)
        return finish(name, parts, input_tensor._dtype, input_tensor._layout, memory_config, device)

    function.__name__ = function.__qualname__ = public
    function.__doc__ = f"a * {form}, where a and b are the halves of the last dimension."
    return operation(name, golden=getattr(golden, public), page="unary")(function)


glu = _define_glu("glu", "sigmoid", "sigmoid(b)")
reglu = _define_glu("reglu", "relu", "relu(b)")
geglu = _define_glu("geglu", "gelu", "gelu(b)")
swiglu = _define_glu("swiglu", "silu", "silu(b)")

# ---- along dimensions


def _population(part, op, count):
    """Variance or deviation by the count, of those by the count less one."""
    if count <= 1:
        return _binary_scalar(part, 0.0, _BINARY["logical_and"], part.dtype)  # no spread: 0 also of NaN
    share = (count - 1) / count
    return _binary_scalar(part, share if op == "var" else share**0.5, _BINARY["multiply"], part.dtype)


def _define_reduction(public, op):
    name = f"ttnn.{public}"
    kind = int(getattr(_tessera.ReduceOp, op).value)

    def function(input_tensor, dim=None, keepdim=False, *, memory_config=None, compute_kernel_config=None, scalar=1.0, correction=True, sub_core_grids=None):
        device = check_on_device(name, input_tensor)
        dims = [] if dim is None else _numbers(name, "dim", dim) if isinstance(dim, (list, tuple)) else [_dim(name, dim, len(input_tensor.shape))]
        dims = [_dim(name, d, len(input_tensor.shape)) for d in dims]
        record(device, name, input_tensor._spec(), tuple(dims), keepdim, scalar, bool(correction))
        count = math.prod(input_tensor.shape[d] for d in dims or range(len(input_tensor.shape)))
        parts = each(lambda p: _tessera.reduce(p, kind, dims, keepdim, COMPUTED[input_tensor._dtype]), input_tensor)
        if op in ("var", "std") and not correction:
            parts = tuple(_population(p, op, count) for p in parts)
        if scalar != 1.0:
            parts = tuple(_binary_scalar(p, float(scalar), _BINARY["multiply"], p.dtype) for p in parts)
        return finish(name, parts, input_tensor._dtype, input_tensor._layout, memory_config, device)

    function.__name__ = function.__qualname__ = public
    function.__doc__ = f"{public} over the dimension `dim`, a list of them, or all."
    return operation(name, golden=getattr(golden, f"reduce_{op}"), page="reduce")(function)


sum, mean, max, min, prod, var, std = (_define_reduction(p, p) for p in ("sum", "mean", "max", "min", "prod", "var", "std"))


@operation("ttnn.cumsum", golden=golden.cumsum, page="reduce")
def cumsum(input, dim, *, dtype=None, memory_config=None, reverse_order=False, out=None):
    """Sums of all elements up to each along `dim`."""
    name = "ttnn.cumsum"
    device = check_on_device(name, input)
    dim = _dim(name, dim, len(input.shape))
    if reverse_order:
        raise RuntimeError(f"[{name}] expected reverse_order=False, got True: this order is not computed here")
    from tessera.ttnn.convert import check_dtype

    new = input._dtype if dtype is None else check_dtype(name, dtype)
    record(device, name, input._spec(), dim, new)
    if input._dtype not in FLOATS and new is not input._dtype:
        from tessera.ttnn.convert import cast_part

        input = _make(tuple(cast_part(p, new) for p in input._parts), new, input._layout, input._memory_config, device)
    return finish(name, each(lambda p: _tessera.cumsum(p, dim, COMPUTED[new]), input), new, input._layout, memory_config, device, out)


@operation("ttnn.moreh_cumsum", golden=golden.cumsum, page="reduce")
def moreh_cumsum(input, dim, *, output=None, memory_config=None, compute_kernel_config=None):
    """cumsum()."""
    return cumsum(input, dim, memory_config=memory_config, out=output)


@operation("ttnn.argmax", golden=golden.argmax, page="reduce")
def argmax(input_tensor, dim=None, keepdim=False, *, memory_config=None, output_tensor=None, use_multicore=False, sub_core_grids=None):
    """Where the largest element along `dim` is, uint32 in row-major layout; the first of equals."""
    name = "ttnn.argmax"
    device = check_on_device(name, input_tensor)
    if dim is None:
        count = input_tensor.shape.volume()
        parts = tuple(_tessera.argmax(p.reshape([count]), 0, False) for p in input_tensor._parts)
        parts = tuple(p.reshape([1] * len(input_tensor.shape) if keepdim else []) for p in parts)
    else:
        dim = _dim(name, dim, len(input_tensor.shape))
        parts = each(lambda p: _tessera.argmax(p, dim, keepdim), input_tensor)
    record(device, name, input_tensor._spec(), dim, keepdim)
    return finish(name, parts, uint32, Layout.ROW_MAJOR, memory_config, device, output_tensor)


# ---- operators of tensors


def _operator(op, reflected=False):
    name = f"ttnn.{op}"
    if reflected:
        return lambda self, other: _binary_call(name, op, other, self) if _is_number(other) else NotImplemented
    return lambda self, other: _binary_call(name, op, self, other) if isinstance(other, Tensor) or _is_number(other) else NotImplemented


for _method, _op in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "divide"), ("pow", "power"), ("floordiv", "floor_divide"), ("mod", "remainder")):
    setattr(Tensor, f"__{_method}__", _operator(_op))
    setattr(Tensor, f"__r{_method}__", _operator(_op, True))
for _op in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Tensor, f"__{_op}__", _operator(_op))
Tensor.__hash__ = object.__hash__
Tensor.__array_ufunc__ = None  # NumPy's numbers leave arithmetic with tensors to them
Tensor.__neg__ = lambda self: globals()["neg"](self)
Tensor.__abs__ = lambda self: globals()["abs"](self)

__all__ = [n for n in dir() if getattr(globals()[n], "python_fully_qualified_name", "").startswith("ttnn.")]
