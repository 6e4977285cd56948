"""Stubs: known affine maps in the place of a model's parts, however the model defines the parts.

A part may be a submodule, a property, a method, a static method, or an attribute of another object.
`override` gives a model a subclass of its own class, whose attribute lookup returns the stub first.
So setting a stub needs no setter and changes no other model.
"""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

# The entry of an instance's `__dict__` that holds its overrides, by name.
OVERRIDES = "_vaelab_overrides"


class Stub(nn.Module):
    """Known affine maps that replace a part of a model; see `protocol.remote.Affine`.

    With stubs, the judge tests how a model connects its parts, independently of the parts. A stub
    accepts the inputs that the replaced part accepts: more leading axes or none, keyword arguments,
    further arguments of the part. It has the part's attributes and, in the place of an
    `nn.Sequential`, as many entries.

    Args:
        outputs: For each output: `weights`, one float32 matrix (in_features, out_features) or
            vector (in_features,) for each input; `bias`, a float; `shape`, the shape of one row or
            None; `total`, whether to sum over all elements.
        squash: Whether to apply a sigmoid to the outputs, after the noise.
        noise: Whether to add standard normal noise to the outputs.
        names: The names of the part's arguments, in order, for calls with keyword arguments.
        takes: The shapes of one row of the first input that are accepted; () for every shape.
            Shapes that the replaced part takes are accepted too.
        original: The replaced part, or None.
    """

    def __init__(
        self,
        outputs: Sequence[dict[str, Any]],
        squash: bool,
        noise: bool,
        names: Sequence[str],
        takes: Sequence[Sequence[int]] = (),
        original: Any = None,
    ):
        super().__init__()
        self._takes = [tuple(shape) for shape in takes]
        self._outputs, self._squash, self._noise = list(outputs), squash, noise
        self._names, self._inputs = list(names), list[torch.Tensor]()
        # A stub has parameters, so that gradients reach it as they reach the part that it replaces.
        self.biases = nn.ParameterList(torch.tensor(output["bias"]) for output in self._outputs)
        # A module becomes a submodule, so that it moves to another device together with the model.
        self._original = original

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Map inputs of shape (N, ...) to one output, or to a tuple of several outputs.

        Raises:
            TypeError: If an argument is missing, or neither the stub nor the part has it.
            RuntimeError: If neither the stub nor the part takes inputs of this shape.
        """
        tensors = self._tensors(inputs, named)
        first = tensors[0].detach()
        if first.device.type != "meta":
            self._inputs.append(_as_rows(first.clone(), self._outputs[0]["weights"][0]))
        self._expect_accepted(tensors)
        outputs = tuple(
            self._map(tensors, output, bias)
            for output, bias in zip(self._outputs, self.biases, strict=True)
        )
        return outputs if len(outputs) > 1 else outputs[0]

    def _expect_accepted(self, tensors: Sequence[torch.Tensor]) -> None:
        """Refuse a shape that the replaced part refuses: a linear layer takes no images, say."""
        shape = tuple(tensors[0].shape)
        if not self._takes or shape[1:] in self._takes or shape in self._takes:
            return
        with contextlib.suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
            self._original(*(torch.zeros_like(x) for x in tensors))
            return
        rows = " or ".join(f"(N, {', '.join(map(str, row))})" for row in self._takes)
        raise RuntimeError(f"expected an input of shape {rows}, got {shape}")

    def seen(self) -> torch.Tensor:
        """Return the first inputs of all calls so far, concatenated; shape (0,) without a call."""
        if len({seen.shape[1:] for seen in self._inputs}) > 1:
            return torch.cat([seen.flatten(1) for seen in self._inputs])
        return torch.cat(self._inputs) if self._inputs else torch.empty(0)

    def _tensors(self, inputs: Sequence[Any], named: dict[str, Any]) -> list[torch.Tensor]:
        """Return the stub's inputs, in order; further arguments of the part are dropped."""
        wanted = len(self._outputs[0]["weights"])
        own = _argument_names(self._original)
        given = list(inputs)
        for position in range(len(inputs), wanted):
            for name in (*self._names[position : position + 1], *own[position : position + 1]):
                if name in named:
                    given.append(named.pop(name))
        for name in named:
            if name not in own[wanted:]:
                raise TypeError(f"unexpected keyword argument '{name}'")
        if len(given) <= len(own):
            given = given[:wanted]
        for value in given:
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                kind = value.dtype if isinstance(value, torch.Tensor) else type(value).__name__
                raise TypeError(f"expected tensors of floating-point numbers, got {kind}")
        return given

    def _map(self, inputs: Sequence[torch.Tensor], output: dict, bias: torch.Tensor) -> Any:
        pairs = list(zip(inputs, output["weights"], strict=True))
        out = sum(_rows(x, w) @ w.to(x) for x, w in pairs) + bias
        out = out.unflatten(-1, output["shape"]) if output["shape"] is not None else out
        if not output["total"]:
            out = out.reshape(self._shape_of(inputs, out))
        out = out + torch.randn_like(out) if self._noise else out
        out = out.sigmoid() if self._squash else out
        return out.sum() if output["total"] else out

    def _shape_of(self, inputs: Sequence[torch.Tensor], out: torch.Tensor) -> Sequence[int]:
        """Return the shape that the part gives to its output, for inputs that are no plain batch.

        A part may keep more leading axes, or merge them. Only the part itself shows which.
        """
        weights = self._outputs[0]["weights"]
        if all(_leading(x, len(w)) == 1 for x, w in zip(inputs, weights, strict=True)):
            return out.shape
        with contextlib.suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
            shape = self._original(*(torch.zeros_like(x) for x in inputs)).shape
            if shape.numel() == out.numel():
                return shape
        return out.shape

    # In the place of a Sequential: the first entry is the whole map, the others change nothing.

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the replaced part, such as `in_features`."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("__") or name == "_original":
                raise
            return getattr(self._original, name)

    def __bool__(self) -> bool:
        """Return True, as a module without a length does."""
        return True

    def __len__(self) -> int:
        """Return the number of entries of the replaced part."""
        return len(self._original)

    def __iter__(self) -> Iterator[nn.Module]:
        """Iterate over entries that together are the stub."""
        return iter(self._entries())

    def __getitem__(self, index: int | slice) -> nn.Module:
        """Return one entry, or several as a Sequential."""
        entries = self._entries()
        return nn.Sequential(*entries[index]) if isinstance(index, slice) else entries[index]

    def _entries(self) -> list[nn.Module]:
        return [_Entry(layer, self if i == 0 else None) for i, layer in enumerate(self._original)]


class _Entry(nn.Module):
    """One entry of a stub: the whole map or the identity, with the attributes of the layer."""

    def __init__(self, layer: Any, stub: Stub | None):
        super().__init__()
        self._layer = layer
        self.__dict__["_stub"] = stub

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Apply the stub, or return the input."""
        return inputs[0] if self._stub is None else self._stub(*inputs, **named)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the layer, such as `weight`."""
        layer = super().__getattr__("_layer")
        return layer if name == "_layer" else getattr(layer, name)


def _argument_names(part: Any) -> list[str]:
    """Return the names of a part's arguments, in order; [] if they are unknown."""
    with contextlib.suppress(TypeError, ValueError):
        function = part.forward if isinstance(part, nn.Module) else part
        return list(inspect.signature(function).parameters) if callable(function) else []
    return []


def _leading(x: torch.Tensor, size: int) -> int:
    """Return how many leading axes of `x` count rows of `size` numbers; 1 if none fits.

    As in `nn.Linear`, the last axis may be a row alone. As after `nn.Flatten`, all axes but the
    first may be a row.
    """
    if x.dim() and x.shape[-1] == size:
        return x.dim() - 1
    if x.dim() >= 2 and x[0].numel() == size:
        return 1
    fits = [axes for axes in range(x.dim()) if x.shape[axes:].numel() == size]
    return max(fits) if fits else min(1, x.dim() - 1)


def _rows(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return `x` with its last axes joined to one, so that it can be multiplied by `weights`."""
    leading = _leading(x, len(weights))
    return x.flatten(leading) if x.dim() > leading else x


def _as_rows(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the inputs of a call as one batch, (N, ...)."""
    leading = _leading(x, len(weights))
    return x if leading == 1 else x.reshape(-1, *x.shape[leading:])


# Overrides.


def override(model: Any, name: str, value: Any) -> None:
    """Make an attribute of an object return a value, whatever its class defines.

    Args:
        model: The object. Other objects of its class do not change.
        name: The attribute. It need not exist.
        value: The value. A module also replaces the same module in the object's submodules, and
            becomes a submodule, because some models read the device of their parameters.
    """
    old = _current(model, name)
    if OVERRIDES not in vars(model):
        _give_lookup(model)
        vars(model)[OVERRIDES] = {}
    vars(model)[OVERRIDES][name] = value
    if isinstance(model, nn.Module) and isinstance(value, nn.Module):
        _register(model, name, value, old)


def set_stub(
    model: Any,
    name: str,
    outputs: Sequence[dict[str, Any]],
    squash: bool,
    noise: bool,
    names: Sequence[str],
    takes: Sequence[Sequence[int]] = (),
) -> None:
    """Replace a part of a model by a `Stub`; its arguments are described there."""
    old = _current(model, name)
    original = old._original if isinstance(old, Stub) else old
    # A part that is the model itself would be its own submodule.
    original = None if original is model else original
    override(model, name, Stub(outputs, squash, noise, names, takes, original))


def _overrides(model: Any) -> dict[str, Any]:
    return getattr(model, "__dict__", {}).get(OVERRIDES) or {}


def _current(model: Any, name: str) -> Any:
    """Return an attribute, or None if reading it raises an exception."""
    try:
        return getattr(model, name)
    except Exception:
        return None


def _give_lookup(model: Any) -> None:
    """Give an object a subclass of its class that looks in its overrides first."""
    base: Any = type(model)

    def lookup(self: Any, name: str) -> Any:
        found = object.__getattribute__(self, "__dict__").get(OVERRIDES)
        if found is not None and name in found:
            return found[name]
        return base.__getattribute__(self, name)

    names = {"__getattribute__": lookup, "__module__": base.__module__, "__doc__": base.__doc__}
    kind: Any = type(base)  # a metaclass, if the class has one
    made = kind(base.__name__, (base,), names)
    made.__qualname__ = base.__qualname__
    object.__setattr__(model, "__class__", made)


def _register(model: nn.Module, name: str, value: nn.Module, old: Any) -> None:
    """Put a module where the old one is: under its name, and wherever else it stands."""
    others = [module for key, module in _overrides(model).items() if key != name]
    # Two parts may be one module: each of them then has its own override.
    if isinstance(old, nn.Module) and not any(module is old for module in others):
        for holder in list(model.modules()):
            for key, module in list(holder._modules.items()):
                if module is old:
                    holder._modules[key] = value
    if name in model._modules:
        model._modules[name] = value
    elif value not in model.children():
        model._modules[f"stub_{name}"] = value


class _ByClass:
    """An attribute of a class while a model with overrides is called.

    `Model.part(model, x)`, a static method `Model.part(x)` and `super().part(x)` reach the override
    too.
    """

    def __init__(self, original: Any, name: str, model: Any):
        self.original, self.name, self.models = original, name, [model]

    def __get__(self, instance: Any, owner: type) -> Any:
        found = _overrides(instance) if instance is not None else {}
        if self.name in found:
            return found[self.name]
        plain = self.original.__get__(instance, owner)
        if instance is not None:
            return plain
        static = isinstance(self.original, staticmethod | classmethod)

        def call(*args: Any, **named: Any) -> Any:
            for model in self.models:
                if static or (args and args[0] is model):
                    return _overrides(model)[self.name](*(args if static else args[1:]), **named)
            return plain(*args, **named)

        return call


@contextlib.contextmanager
def by_class(objects: Sequence[Any]) -> Iterator[None]:
    """Let calls through the class reach the overrides of these objects, inside the context."""
    replaced: list[tuple[type, str, Any]] = []
    for model in objects:
        for name in _overrides(model):
            for cls in type(model).__mro__[1:]:
                original = vars(cls).get(name)
                if isinstance(original, _ByClass):
                    original.models.append(model)
                elif _is_method(original) and not cls.__module__.startswith("torch."):
                    setattr(cls, name, _ByClass(original, name, model))
                    replaced.append((cls, name, original))
    try:
        yield
    finally:
        for cls, name, original in replaced:
            setattr(cls, name, original)


def _is_method(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, staticmethod | classmethod)
