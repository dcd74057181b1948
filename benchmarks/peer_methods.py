"""The peers of `benchmarks.peers`: ways to learn φ without labels, by lightly's losses and heads.

Each is a module that holds φ (`backbone`, of `benchmarks.plain_torch`) and what it needs besides,
and whose call gives the loss of some views. Heads and momentum are those of lightly's benchmark on
CIFAR-10, VICReg's of solo-learn's on CIFAR, EMP-SSL's of its authors' on CIFAR; their input is φ's
pooled map, 128 numbers. Each view goes through φ by itself. Needs PyTorch and lightly.
"""

import copy

import torch
from lightly import loss as losses
from lightly.loss import emp_ssl_loss
from lightly.models import utils
from lightly.models.modules import heads
from torch import nn
from torch.nn import functional

from benchmarks.plain_torch import resnet9

_CHANNELS = 128  # of φ
_MOMENTUM = 0.99  # BYOL's, a step


class _Peer(nn.Module):
    """φ and a head.

    Args:
        head: nn.Module, [batch, 128] -> [batch, d].

    Call arguments:
        views: float32 [views, batch, 3, H, W] in [-1, 1].

    Output: the loss, a scalar.
    """

    def __init__(self, head):
        super().__init__()
        self.backbone = resnet9()
        self.head = head

    def codes(self, views):
        """A list of [batch, d], one a view."""
        return [self.head(self.backbone(view).mean(dim=(2, 3))) for view in views]


class SimCLR(_Peer):
    """Chen et al., ICML 2020."""

    def __init__(self):
        super().__init__(heads.SimCLRProjectionHead(_CHANNELS, 512, 128))
        self.criterion = losses.NTXentLoss()  # temperature 0.5

    def forward(self, views):
        return self.criterion(*self.codes(views))


class BarlowTwins(_Peer):
    """Zbontar et al., ICML 2021; a head of two layers."""

    def __init__(self):
        hidden = (_CHANNELS, 2048, nn.BatchNorm1d(2048), nn.ReLU())
        super().__init__(heads.ProjectionHead([hidden, (2048, 2048, None, None)]))
        self.criterion = losses.BarlowTwinsLoss()

    def forward(self, views):
        return self.criterion(*self.codes(views))


class VICReg(_Peer):
    """Bardes, Ponce, LeCun, ICLR 2022."""

    def __init__(self):
        super().__init__(heads.VICRegProjectionHead(_CHANNELS, 2048, 2048))
        self.criterion = losses.VICRegLoss()

    def forward(self, views):
        return self.criterion(*self.codes(views))


class BYOL(_Peer):
    """Grill et al., NeurIPS 2020: a slow copy, which has no gradient, sees the views too."""

    def __init__(self):
        super().__init__(heads.BYOLProjectionHead(_CHANNELS, 1024, 256))
        self.predictor = heads.BYOLPredictionHead(256, 1024, 256)
        self.slow = copy.deepcopy(nn.Sequential(self.backbone, self.head)).requires_grad_(False)
        self.criterion = losses.NegativeCosineSimilarity()

    def forward(self, views):
        backbone, head = self.slow
        if self.training:
            utils.update_momentum(self.backbone, backbone, m=_MOMENTUM)
            utils.update_momentum(self.head, head, m=_MOMENTUM)
        first, second = (self.predictor(code) for code in self.codes(views))
        with torch.no_grad():
            targets = [head(backbone(view).mean(dim=(2, 3))) for view in views]
        return (self.criterion(first, targets[1]) + self.criterion(second, targets[0])) / 2


class SwAV(_Peer):
    """Caron et al., NeurIPS 2020; 512 prototypes, two crops of full size, no queue."""

    def __init__(self):
        super().__init__(heads.SwaVProjectionHead(_CHANNELS, 512, 128))
        self.prototypes = heads.SwaVPrototypes(128, 512)
        self.criterion = losses.SwaVLoss()

    def forward(self, views):
        self.prototypes.normalize()
        codes = [self.prototypes(functional.normalize(code)) for code in self.codes(views)]
        return self.criterion(codes, []).squeeze()


class EMPSSL(_Peer):
    """Tong et al., "EMP-SSL: Towards Self-Supervised Learning in One Training Epoch", 2023.

    lightly 1.6.0's `EMPSSLLoss` adds the coding rate, where the paper's formula 5 and its authors'
    code take it away: so the two terms are lightly's, their sum is the paper's.
    """

    def __init__(self):
        super().__init__(heads.VICRegProjectionHead(_CHANNELS, 4096, 1024))

    def forward(self, views):
        codes = torch.stack([functional.normalize(code) for code in self.codes(views)])
        coding_rate = emp_ssl_loss.tcr_loss(codes, eps=0.2)
        return 200 * emp_ssl_loss.invariance_loss(codes) - coding_rate
