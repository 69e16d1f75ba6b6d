"""The gradient of each tensor, normalised as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from medframe.base.errors import BadArgument


class Novograd(torch.optim.Optimizer):
    """Momentum on gradients that are divided by the running norm of their tensor, weight decay added after that.

        v <- beta2 v + (1 - beta2) norm(g)^2
        m <- beta1 m + g / (sqrt(v) + eps) + decay w
        w <- w - lr m

    v is one number for each tensor (the first squared norm is taken whole), so the state is half of Adam's, and a layer
    moves by about `lr` whatever the size of its gradients.

    B. Ginsburg et al., "Stochastic gradient methods with layer-wise adaptive moments for training of deep networks",
    2019, arXiv:1905.11286; with `amsgrad` S. J. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond",
    ICLR 2018, arXiv:1904.09237.

    Args:
        params: parameters, or groups of them as `medframe.networks.parameter_groups` makes.
        lr: the learning rate.
        betas: of the momentum, and of the running squared norm; each from 0 to less than 1.
        eps: added to the norm.
        weight_decay: the share of the weight that is added to its normalised gradient.
        grad_averaging: take 1 - beta1 of what is added to the momentum, which then is a mean.
        amsgrad: divide by the largest norm so far.

    Raises:
        BadArgument: numbers out of range, or, in a step, a sparse gradient.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimiser = Novograd([w], lr=1.0)
        >>> (0.5 * w.square().sum()).backward()  # the gradient is w itself, of norm 5
        >>> optimiser.step()
        >>> [round(x, 4) for x in w.tolist()]
        [2.4, 3.2]
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.98),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        grad_averaging: bool = False,
        amsgrad: bool = False,
    ) -> None:
        if not (lr >= 0 and eps >= 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise BadArgument(
                "the optimiser's numbers are out of range",
                found=f"lr={lr}, betas={tuple(betas)}, eps={eps}, weight_decay={weight_decay}",
                due="lr, eps and weight_decay of 0 or more, betas from 0 to less than 1",
            )
        settings = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "grad_averaging": grad_averaging,
            "amsgrad": amsgrad,
        }
        super().__init__(params, settings)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; `closure` computes the loss anew, which is then the answer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._update(p, p.grad, group)
        return loss

    def _update(self, p: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        if grad.is_sparse:
            raise BadArgument("a gradient is sparse", where="Novograd", found="a sparse tensor", due="a dense one")
        state = self.state[p]
        if not state:
            state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros((), dtype=torch.float32, device=p.device)
            if group["amsgrad"]:
                state["max_exp_avg_sq"] = torch.zeros((), dtype=torch.float32, device=p.device)
        beta1, beta2 = group["betas"]
        norm, square = grad.float().square().sum(), state["exp_avg_sq"]
        # decided on the device, so that no step waits for it
        square.copy_(torch.where(square == 0, norm, beta2 * square + (1 - beta2) * norm))
        if group["amsgrad"]:
            square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
        added = grad / (square.sqrt() + group["eps"]).to(grad.dtype)
        if group["weight_decay"]:
            added.add_(p, alpha=group["weight_decay"])
        if group["grad_averaging"]:
            added.mul_(1 - beta1)
        state["exp_avg"].mul_(beta1).add_(added)
        p.add_(state["exp_avg"], alpha=-group["lr"])
