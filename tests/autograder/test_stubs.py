"""Stubs replace a part however a model defines it, and accept what the part accepts."""

import pytest
import torch

from autograder.protocol.remote import Affine, Raised, Submission, direct
from autograder.worker.worker import Worker

START = """
import functools, torch
from torch import nn

class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
"""

# Each class uses its part in another way. `part` maps rows of 4 numbers to rows of 3.
FORMS = {
    "submodule": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        return self.part(x)
""",
    "property": """
class Model(Base):
    @property
    def part(self):
        return self.net
    def forward(self, x):
        return self.part(x)
""",
    "property_over_a_dict": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"part": nn.Linear(4, 3)})
    @property
    def part(self):
        return self.parts["part"]
    def forward(self, x):
        return self.parts["part"](x)
""",
    "property_over_a_list": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(4, 3)])
    part = property(lambda self: self.parts[0])
    def forward(self, x):
        return self.parts[0](x)
""",
    "nested": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.inner = nn.Module()
        self.inner.part = nn.Linear(4, 3)
    part = property(lambda self: self.inner.part)
    def forward(self, x):
        return self.inner.part(x)
""",
    "two_names": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.part = self.again = nn.Sequential(self.first, nn.ReLU())
    def forward(self, x):
        return self.again(x)
""",
    "method": """
class Model(Base):
    def part(self, x):
        return self.net(x)
    def forward(self, x):
        return self.part(x)
""",
    "method_of_a_parent": """
class Parent(Base):
    def part(self, x):
        return self.net(x)
class Model(Parent):
    def forward(self, x):
        return super().part(x)
""",
    "method_by_class": """
class Model(Base):
    def part(self, x):
        return self.net(x)
    def forward(self, x):
        return Model.part(self, x)
""",
    "static_method": """
class Model(Base):
    @staticmethod
    def part(x):
        return x[..., :3]
    def forward(self, x):
        return Model.part(x) / 2 + self.part(x) / 2
""",
    "class_method": """
class Model(Base):
    @classmethod
    def part(cls, x):
        return x[..., :3]
    def forward(self, x):
        return type(self).part(x)
""",
    "class_attribute": """
class Model(Base):
    part = staticmethod(nn.Linear(4, 3))
    def forward(self, x):
        return self.part(x)
""",
    "function_in_init": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = lambda x: self.net(x)
    def forward(self, x):
        return self.part(x)
""",
    "cached_property": """
class Model(Base):
    @functools.cached_property
    def part(self):
        return nn.Linear(4, 3)
    def forward(self, x):
        return self.part(x)
""",
    "built_by_name": """
class Model(Base):
    def __init__(self):
        super().__init__()
        for name in ("part", "other"):
            setattr(self, name, nn.Linear(4, 3))
    def forward(self, x):
        return getattr(self, "pa" + "rt")(x)
""",
    "built_in_forward": """
class Model(Base):
    def forward(self, x):
        if not hasattr(self, "part"):
            self.part = nn.Linear(x.shape[1], 3)
        return self.part(x)
""",
    "always_built_in_forward": """
class Model(Base):
    def forward(self, x):
        self.part = nn.Linear(x.shape[1], 3)
        return self.part(x)
""",
    "from_the_dictionary": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        return dict(self.named_children())["part"](x) + 0 * self._modules["part"](x)
""",
    "get_submodule": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        return self.get_submodule("part")(x)
""",
    "its_forward": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        return self.part.forward(x)
""",
    "layer_by_layer": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    def forward(self, x):
        for layer in self.part:
            x = layer(x)
        return x
""",
    "by_slices": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    def forward(self, x):
        assert len(self.part) == 3 and self.part[0].in_features == 4
        return self.part[-1](self.part[:-1](x))
""",
    "sizes_and_device": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        x = x.view(-1, self.part.in_features).to(self.part.weight.device)
        return self.part(x.to(next(self.part.parameters()).dtype)).view(-1, self.part.out_features)
""",
    "named_argument": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Linear(4, 3))
    def forward(self, x):
        return self.part(input=x)
""",
    "further_arguments": """
class Model(Base):
    def part(self, rows, scale=1.0, noisy=False):
        return self.net(rows)
    def forward(self, x):
        return (self.part(x, 1.0, noisy=self.training) + self.part(rows=x)) / 2
""",
    "own_attribute_lookup": """
class Model(Base):
    def __getattr__(self, name):
        return self.net if name == "part" else super().__getattr__(name)
    def __setattr__(self, name, value):
        if name == "part":
            raise AttributeError("read only")
        super().__setattr__(name, value)
    def forward(self, x):
        return self.part(x)
""",
    "row_by_row": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        return torch.stack([self.part(row) for row in x])
""",
    "one_more_axis": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
    def forward(self, x):
        return self.part(x.unsqueeze(1)).squeeze(1)
""",
    "merged_axes": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    def forward(self, x):
        return self.part(x.unsqueeze(1))
""",
    "double": """
class Model(Base):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(4, 3)
        self.double()
    def forward(self, x):
        return self.part(x.double()).float()
""",
}


def submission_of(form: str) -> Submission:
    submission = Submission(direct(Worker({"__name__": "__main__"})), "none")
    submission.run(START + FORMS[form], "cell")
    return submission


@pytest.mark.parametrize("form", FORMS)
def test_a_stub_replaces_every_form_of_a_part(form):
    submission = submission_of(form)
    weights, x = torch.randn(4, 3), torch.randn(5, 4)
    model, untouched = submission.new("Model"), submission.new("Model")
    for factor in (1, 2):  # a stub can be replaced by another one
        model.set_stub("part", Affine([factor * weights]))
        for mode in (model.train, model.eval):
            mode()
            assert torch.allclose(model(x), factor * (x @ weights), atol=1e-5)
        assert torch.allclose(model.part.seen().float().reshape(-1, 4)[-5:], x)
    got = untouched(x)
    assert got.shape == (5, 3)
    assert not torch.allclose(got, 2 * (x @ weights), atol=1e-2)


def test_a_model_with_stubs_can_be_moved_and_keeps_its_class():
    submission = submission_of("sizes_and_device")
    model = submission.new("Model")
    model.set_stub("part", Affine([torch.randn(4, 3)]))
    assert model.call_on_meta_device(torch.randn(5, 4)) == ()
    submission.run("def same(model): return isinstance(model, Model), type(model).__name__", "f")
    assert submission.object("same")(model) == (True, "Model")


def test_shared_layers_can_have_different_stubs():
    submission = submission_of("submodule")
    submission.run("model = Model(); model.other = model.part", "more")
    model, x, first = submission.object("model"), torch.randn(5, 4), torch.randn(4, 3)
    model.set_stub("part", Affine([first]))
    model.set_stub("other", Affine([2 * first]))
    assert torch.allclose(model.part(x), x @ first, atol=1e-5)
    assert torch.allclose(model.other(x), 2 * x @ first, atol=1e-5)


def test_one_row_becomes_one_image_as_the_part_makes_it():
    submission = submission_of("method")
    submission.run(
        "class Rows(Base):\n"
        "    def part(self, z):\n"
        "        return self.net(z).view(-1, 1, 3)\n"
        "class Axes(Base):\n"
        "    def part(self, z):\n"
        "        return self.net(z).unflatten(-1, (1, 3))\n",
        "more",
    )
    for name, shape in (("Rows", (1, 1, 3)), ("Axes", (1, 3))):
        model, weights = submission.new(name), torch.randn(4, 3)
        model.set_stub("part", Affine([weights], (1, 3)))
        z = torch.randn(4)
        got = model.part(z)
        assert got.shape == shape
        assert torch.allclose(got.flatten(), z @ weights, atol=1e-5)


def test_a_stub_refuses_what_no_layer_accepts():
    model = submission_of("submodule").new("Model")
    model.set_stub("part", Affine([torch.randn(4, 3)]))
    for wrong in (torch.randn(5, 3), torch.randn(3), torch.arange(4), 1.0):
        with pytest.raises(Raised):
            model.part(wrong)


def test_an_attribute_of_a_bare_model_can_be_a_property():
    submission = submission_of("property")
    model = submission.bare("Model", part=7)
    assert model.part.value() == 7
