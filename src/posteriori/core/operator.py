"""Known physics as a batched map between two Spaces, with its derivative and the derivative's adjoint."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from posteriori.core.errors import ShapeError, UnanswerableError
from posteriori.core.space import Space


class Operator(nn.Module, ABC):
    """A map ``m (*batch, *domain.shape) → (*batch, *codomain.shape)``, batched over anything in front.

    A subclass written in torch derives from :class:`TorchOperator` and gives ``forward`` alone. One written
    in anything else (numba, OpenMM, another package) derives from this class and gives ``forward``, ``jvp`` and
    ``vjp``; ``operator(m)`` then carries ``vjp`` as its autograd backward. Methods only ever call ``operator(m)``.

    ``linear`` says that ``forward(m) = J m + b``; ``adjoint(r) = Jᵀ r`` exists then.
    """

    domain: Space
    codomain: Space
    linear: bool = False
    references: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, m: Tensor) -> Tensor:
        """The prediction, (*batch, *codomain.shape)."""

    @abstractmethod
    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J(m) v: the change of the prediction along ``v`` (*batch, *domain.shape)."""

    @abstractmethod
    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m)ᵀ r for ``r`` (*batch, *codomain.shape)."""

    def __call__(self, m: Tensor) -> Tensor:
        """``forward`` with ``vjp`` as its derivative."""
        self.domain.check(m, f"input of {type(self).__name__}")
        if isinstance(self, TorchOperator):
            return self.forward(m)
        kept: list[Callable[[Tensor], Tensor]] | None = [] if torch.is_grad_enabled() and m.requires_grad else None
        bound: Tensor = _Bound.apply(m, self, kept)  # type: ignore[no-untyped-call]
        return bound

    def pull(self, m: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """``forward(m)`` and ``r ↦ vjp(m, r)``; an operator whose adjoint can reuse the forward run overrides this."""
        return self.forward(m), lambda r: self.vjp(m, r)

    def adjoint(self, r: Tensor) -> Tensor:
        """Jᵀ r of a linear operator.

        Raises:
            UnanswerableError: the operator is not linear.
        """
        self.require_linear("adjoint(r)")
        return self.vjp(self._zeros(r), self.codomain.check(r, "residual"))

    def matmul(self, v: Tensor) -> Tensor:
        """J v of a linear operator: ``forward`` without its offset.

        Raises:
            UnanswerableError: the operator is not linear.
        """
        self.require_linear("matmul(v)")
        return self.jvp(torch.zeros_like(v), self.domain.check(v, "direction"))

    def offset(self, like: Tensor) -> Tensor:
        """b = ``forward(0)``, shape codomain.shape, with the dtype and device of ``like``."""
        return self(torch.zeros(self.domain.shape, dtype=like.dtype, device=like.device))

    def rows(self, like: Tensor) -> Tensor:
        """The dense J of a linear operator, (codomain.size, domain.size), by one adjoint of each datum."""
        eye = torch.eye(self.codomain.size, dtype=like.dtype, device=like.device)
        return self.domain.flat(self.adjoint(self.codomain.unflat(eye)))

    def require_linear(self, why: str) -> None:
        """Refuse ``why`` unless this operator is linear."""
        if not self.linear:
            raise UnanswerableError(
                f"{why} needs a linear operator and {type(self).__name__} is not; "
                "use vjp(m, r) at a point m, or a method for nonlinear targets (Laplace, HMC)."
            )

    def select(self, dim: str, labels: Any) -> Operator:
        """This operator with only ``labels`` along ``dim`` of its codomain."""
        return Compose(Selection.along(self.codomain, dim, labels), self)

    def __matmul__(self, inner: Operator) -> Operator:
        return Compose(self, inner)

    def __gt__(self, level: float) -> Event:
        return Event(self, level)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.domain} → {self.codomain})"

    def _zeros(self, r: Tensor) -> Tensor:
        batch = r.shape[: r.ndim - len(self.codomain.shape)]
        return torch.zeros(*batch, *self.domain.shape, dtype=r.dtype, device=r.device)


class TorchOperator(Operator):
    """An operator written in torch: both derivatives follow from ``forward``."""

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J(m) v: ``forward(v) - forward(0)`` where linear, by forward-mode differentiation otherwise."""
        if self.linear:
            return self.forward(v) - self.forward(torch.zeros_like(v))
        with warnings.catch_warnings():
            # torch's forward mode loads its decompositions through torch.jit.script, which it deprecates itself
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.func.jvp(self.forward, (m,), (v,))[1]

    def vjp(self, m: Tensor, r: Tensor) -> Tensor:
        """J(m)ᵀ r by reverse-mode differentiation."""
        learns = r.requires_grad or m.requires_grad or any(p.requires_grad for p in self.parameters())
        outer = torch.is_grad_enabled() and learns
        with torch.enable_grad():
            point = m if m.requires_grad else m.detach().requires_grad_()
            prediction = self.forward(point)
            found = torch.autograd.grad(prediction, point, r, create_graph=outer, allow_unused=True)[0]
        return torch.zeros_like(m) if found is None else found


@dataclass(frozen=True)
class Event:
    """The set of m where a scalar ``operator(m)`` exceeds ``level``; written ``operator > level``."""

    operator: Operator
    level: float

    def __post_init__(self) -> None:
        if self.operator.codomain.size != 1:
            raise ShapeError(f"an event needs a scalar operator; {self.operator} gives {self.operator.codomain.size}.")


class Compose(TorchOperator):
    """``outer(inner(m))``; written ``outer @ inner``.

    Raises:
        ShapeError: ``inner`` does not end where ``outer`` begins.
    """

    def __init__(self, outer: Operator, inner: Operator) -> None:
        super().__init__()
        if not outer.domain.same(inner.codomain):
            raise ShapeError(f"{outer} does not begin where {inner} ends; the two Spaces need the same labels.")
        self.outer, self.inner = outer, inner
        self.domain, self.codomain = inner.domain, outer.codomain
        self.linear = outer.linear and inner.linear

    def forward(self, m: Tensor) -> Tensor:
        """outer(inner(m))."""
        prediction: Tensor = self.outer(self.inner(m))
        return prediction

    def jvp(self, m: Tensor, v: Tensor) -> Tensor:
        """J_outer J_inner v: each by its own ``jvp``, since torch's forward mode cannot look into foreign code."""
        moved = self.inner.jvp(m, v)
        return self.outer.jvp(moved if self.outer.linear else self.inner(m), moved)

    def select(self, dim: str, labels: Any) -> Operator:
        """Ask the outer operator, which may be cheaper."""
        return Compose(self.outer.select(dim, labels), self.inner)

    @staticmethod
    def example() -> Compose:
        """Two of the cells that a selection keeps."""
        inner = Selection.example()
        return Compose(Selection.along(inner.codomain, "x", [0, 4]), inner)


class Selection(TorchOperator):
    """Some cells of a Space, in any order: measured nuclei, live stations, observed pixels."""

    linear = True

    def __init__(self, domain: Space, codomain: Space, index: Tensor) -> None:
        super().__init__()
        inside = len(index) == 0 or (int(index.min()) >= 0 and int(index.max()) < domain.size)
        if len(index) != codomain.size or not inside:
            raise ShapeError(f"{len(index)} positions cannot select {codomain} from {domain}.")
        self.domain, self.codomain = domain, codomain
        self.register_buffer("index", index)
        self.index: Tensor

    @staticmethod
    def along(space: Space, dim: str, labels: Any) -> Selection:
        """The cells with ``labels`` along ``dim``; the other dims stay whole."""
        part = space.select(dim, labels)
        cells = torch.arange(space.size).reshape(space.shape)
        return Selection(space, part, cells.index_select(space.dims.index(dim), space.index(dim, labels)).flatten())

    @staticmethod
    def where(space: Space, mask: Tensor, dim: str = "cell") -> Selection:
        """The cells where ``mask`` (shape of ``space``) holds, along one new ``dim`` labelled by flat position."""
        index = space.flat(mask).nonzero()[:, 0]
        return Selection(space, Space(space.name, {dim: index.numpy()}, space.unit, space.support), index)

    def forward(self, m: Tensor) -> Tensor:
        """The chosen cells of ``m``."""
        return self.codomain.unflat(self.domain.flat(m)[..., self.index])

    def select(self, dim: str, labels: Any) -> Operator:
        """Fewer cells of the same Space."""
        part = Selection.along(self.codomain, dim, labels)
        return Selection(self.domain, part.codomain, self.index[part.index])

    @staticmethod
    def example() -> Selection:
        """Three of five cells, out of order."""
        space = Space("m", {"x": 5})
        return Selection.along(space, "x", [4, 0, 2])


class _Bound(torch.autograd.Function):
    """``forward`` of a foreign operator with its own ``vjp`` and ``jvp`` for autograd."""

    @staticmethod
    def forward(m: Tensor, operator: Operator, kept: list[Callable[[Tensor], Tensor]] | None) -> Tensor:
        if kept is None:
            return operator.forward(m)
        prediction, back = operator.pull(m)
        kept.append(back)
        return prediction

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Operator, Any], output: Tensor) -> None:
        m, ctx.operator, ctx.kept = inputs
        ctx.save_for_backward(m)
        ctx.save_for_forward(m)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> tuple[Tensor, None, None]:
        (m,) = ctx.saved_tensors
        return ctx.kept[-1](r) if ctx.kept else ctx.operator.vjp(m, r), None, None

    @staticmethod
    def jvp(ctx: Any, v: Tensor, *_: None) -> Tensor:
        (m,) = ctx.saved_tensors
        return ctx.operator.jvp(m, v)
