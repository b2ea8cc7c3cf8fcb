"""Every message-passing back end under the contract of :mod:`tests.cases.backends`."""

from __future__ import annotations

from grn_cotrain.nn.backends import BACKENDS
from tests.cases.backends import BackendCase


class TestTorchGeometric(BackendCase):
    name = "torch_geometric"


class TestCsr(BackendCase):
    name = "csr"


class TestDgl(BackendCase):
    name = "dgl"


class TestTorchScatter(BackendCase):
    name = "torch_scatter"


def test_every_component_is_covered() -> None:
    assert {case.name for case in BackendCase.__subclasses__()} == set(BACKENDS.names())
