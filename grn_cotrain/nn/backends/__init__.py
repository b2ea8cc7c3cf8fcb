"""Message-passing back ends. Modules are called ``backend_*`` so that none shadows the library it wraps."""

from grn_cotrain.nn.backends.base import BACKENDS, MessageBackend

__all__ = ["BACKENDS", "MessageBackend", "get_backend"]


def get_backend(name: str = "torch_geometric") -> MessageBackend:
    """Return a back end by name: ``torch_geometric`` (default), ``csr``, ``dgl``, ``torch_scatter``.

    Raises
    ------
    UserError
        No such back end.
    MissingExtraError
        The library behind it is not installed; the text names ``make setup-ci``, which installs it.
    """
    return BACKENDS.get(name)()
