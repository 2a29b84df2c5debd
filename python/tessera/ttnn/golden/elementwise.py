"""Golden functions of what has one output per element, and of reductions."""

from __future__ import annotations

import math

import numpy as np

from tessera.ttnn.golden.base import golden as _golden

_each = lambda f: np.vectorize(f, otypes=[np.float64])  # noqa: E731
_erf, _erfc = _each(math.erf), _each(math.erfc)


def _lgamma_one(x):
    if math.isnan(x):
        return x
    if math.isinf(x):
        return math.inf
    return math.inf if x <= 0 and x == math.floor(x) else math.lgamma(x)


def _sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _gelu(x):
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _unary(f):
    return _golden(lambda x, *_, **__: f(x))


def _hold_nan(f):
    return lambda x: np.where(np.isnan(x), x, f(x))


_UNARY = {
    "abs": np.abs,
    "neg": np.negative,
    "sign": lambda x: np.where(np.isnan(x), 0.0, np.sign(x)),
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "erf": _erf,
    "erfc": _erfc,
    "lgamma": _each(_lgamma_one),
    "sigmoid": _sigmoid,
    "log_sigmoid": lambda x: -_softplus(-x),
    "relu": _hold_nan(lambda x: np.maximum(x, 0)),
    "relu6": _hold_nan(lambda x: np.clip(x, 0, 6)),
    "silu": lambda x: x * _sigmoid(x),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanhshrink": lambda x: x - np.tanh(x),
    "hardsigmoid": _hold_nan(lambda x: np.clip(x / 6 + 0.5, 0, 1)),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "isnan": lambda x: np.isnan(x).astype(np.float64),
    "isinf": lambda x: np.isinf(x).astype(np.float64),
    "isfinite": lambda x: np.isfinite(x).astype(np.float64),
    "logical_not": lambda x: (x == 0).astype(x.dtype),
    "selu": lambda x: 1.0507009873554804934193349852946 * np.where(x > 0, x, 1.6732632423543772848170429916717 * np.expm1(x)),
    "identity": lambda x: x,
}
for _name, _function in _UNARY.items():
    globals()[_name] = _unary(_function)


@_golden
def gelu(x, *_, variant=None, **__):
    return _UNARY["gelu_tanh"](x) if getattr(variant, "name", "") == "Tanh" else _gelu(x)


@_golden
def leaky_relu(x, negative_slope=0.01, **_):
    return np.where(x > 0, x, negative_slope * x)


@_golden
def elu(x, alpha=1.0, **_):
    return np.where(x > 0, x, alpha * np.expm1(x))


@_golden
def celu(x, alpha=1.0, **_):
    return np.where(x > 0, x, alpha * np.expm1(x / alpha))


@_golden
def hardtanh(x, min_val=-1.0, max_val=1.0, **_):
    return np.clip(x, min_val, max_val)


@_golden
def clip(x, min=None, max=None, **_):
    return np.clip(x, min, max)


@_golden
def hardshrink(x, lambd=0.5, **_):
    return np.where(np.abs(x) <= lambd, 0, x)


@_golden
def softshrink(x, lambd=0.5, **_):
    return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, np.where(np.isnan(x), x, 0)))


@_golden
def softplus(x, beta=1.0, threshold=20.0, **_):
    return np.where(beta * x > threshold, x, _softplus(beta * x) / beta)


@_golden
def threshold(x, threshold=0.0, value=0.0, **_):
    return np.where(x <= threshold, value, x)


@_golden
def heaviside(x, value=0.0, **_):
    return np.where(np.isnan(x), x, np.heaviside(x, value))


@_golden
def xielu(x, alpha_p=0.8, alpha_n=0.8, **_):
    beta, eps = 0.5, -1e-6
    return np.where(x > 0, alpha_p * x * x + beta * x, alpha_n * (np.expm1(np.minimum(x, eps)) - x) + beta * x)


# ---- two operands


def _prelu(a, b):
    if getattr(b, "ndim", 0) == 1 and a.ndim > 2 and b.shape[0] == a.shape[1]:
        b = b.reshape((1, -1) + (1,) * (a.ndim - 2))
    return np.where(a < 0, a * b, a)


_BINARY = {
    "add": np.add,
    "subtract": np.subtract,
    "rsub": lambda a, b: b - a,
    "multiply": np.multiply,
    "divide": np.true_divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "prelu": _prelu,
    "bias_gelu": lambda a, b: _gelu(a + b),
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "fmod": np.fmod,
    "squared_difference": lambda a, b: (a - b) ** 2,
}
for _name, _compare in (("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal)):
    _BINARY[_name] = lambda a, b, f=_compare: f(a, b).astype(np.asarray(a).dtype)
for _name, _logic in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
    _BINARY[f"logical_{_name}"] = lambda a, b, f=_logic: f(a, b).astype(np.asarray(a).dtype)


def _define(name, function):
    @_golden
    def golden(a, b, *_, activations=None, rounding_mode=None, **__):
        y = function(a, b)
        y = np.floor(y) if rounding_mode == "floor" else np.trunc(y) if rounding_mode == "trunc" else y
        for each in activations or ():
            y = _activation(each)(y)
        return y

    golden.__name__ = name
    return golden


for _name, _function in _BINARY.items():
    globals()[_name] = _define(_name, _function)


def _activation(value):
    """The function of "relu", of a UnaryOpType or of a UnaryWithParam."""
    params = getattr(value, "params", ())
    value = getattr(value, "op_type", value)
    word = getattr(value, "value", value)
    word = {"swish": "silu", "gelu_approx": "gelu_tanh"}.get(word, word)
    function = globals()[word]
    return lambda x: function(x, *params)


def get_golden_function_for_activation(activation):
    """The golden function of an activation's name, or of None: the identity."""
    return (lambda x: x) if activation is None else _activation(activation)


def activated(y, activation):
    """y through an activation, or y."""
    return y if activation is None else _activation(activation)(y)


@_golden
def where(condition, a, b, **_):
    return np.where(condition != 0, a, b)


def _halves(x, dim=-1):
    return np.split(x, 2, axis=dim)


def _gated(f):
    @_golden
    def golden(x, dim=-1, **_):
        a, b = _halves(x, dim)
        return a * f(b)

    return golden


glu, reglu, geglu, swiglu = (_gated(f) for f in (_sigmoid, lambda b: np.maximum(b, 0), _gelu, lambda b: b * _sigmoid(b)))


def _reduction(f):
    @_golden
    def golden(x, dim=None, keepdim=False, correction=True, **_):
        more = {} if correction else {"ddof": 0}
        axis = tuple(dim) if isinstance(dim, (list, tuple)) and dim else None if dim is None or isinstance(dim, (list, tuple)) else dim
        return f(x, axis=axis, keepdims=keepdim, **more)

    return golden


reduce_sum, reduce_mean, reduce_max, reduce_min, reduce_prod = (_reduction(f) for f in (np.sum, np.mean, np.max, np.min, np.prod))
reduce_var = _reduction(lambda x, axis, keepdims, ddof=1: np.var(x, axis=axis, keepdims=keepdims, ddof=ddof))
reduce_std = _reduction(lambda x, axis, keepdims, ddof=1: np.std(x, axis=axis, keepdims=keepdims, ddof=ddof))


@_golden
def cumsum(x, dim, **_):
    return np.cumsum(x, axis=dim)


@_golden
def argmax(x, dim=None, keepdim=False, **_):
    return np.argmax(x, axis=dim, keepdims=keepdim)
