"""Optimisers that torch does not have: each an ordinary `torch.optim.Optimizer`.

Learning-rate curves (polynomial, cosine with warm-up, ...) are in `medframe.handlers`, layer-wise rates and groups
without weight decay in `medframe.networks.parameter_groups`, the range test in `medframe.engines.find_learning_rate`.
"""

from medframe.optimisers.novograd import Novograd

__all__ = ["Novograd"]
