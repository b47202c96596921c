"""Record PyTorch's rates, parameter groups and clipped gradients: ``python tests/reference/record_training.py``.

It writes torch_training.json beside it, which the tests read; they need no PyTorch.
"""

import itertools
import json
import math
import pathlib
import warnings

import torch
from torch.optim import lr_scheduler

warnings.filterwarnings("ignore")

SINGLE = {
    "StepLR": [{"step_size": s, "gamma": g} for s, g in ((1, 0.9), (3, 0.5), (7, 0.1))],
    "CosineAnnealingLR": [{"T_max": t, "eta_min": e} for t, e in ((1, 0.0), (5, 0.0), (12, 0.01), (40, 0.2))],
    "ExponentialLR": [{"gamma": g} for g in (0.9, 1.0, 0.0)],
    "LinearLR": [
        {"start_factor": a, "end_factor": b, "total_iters": t}
        for a, b, t in ((1 / 3, 1.0, 5), (0.01, 1.0, 1), (1.0, 0.1, 12), (0.5, 0.0, 4), (0.25, 0.75, 30))
    ],
}
ONE_CYCLE = [
    {"max_lr": 0.5, "total_steps": 20},
    {"max_lr": 0.5, "epochs": 4, "steps_per_epoch": 6, "pct_start": 0.5, "anneal_strategy": "linear"},
    {"max_lr": 0.1, "total_steps": 17, "three_phase": True, "div_factor": 10.0, "final_div_factor": 100.0},
    {"max_lr": 0.1, "total_steps": 20, "base_momentum": 0.5, "max_momentum": 0.6, "anneal_strategy": "linear"},
    {"max_lr": 0.1, "total_steps": 12, "cycle_momentum": False, "pct_start": 0.0},
    {"max_lr": 0.1, "total_steps": 12, "three_phase": True, "anneal_strategy": "linear", "pct_start": 0.25},
    {"max_lr": 0.1, "total_steps": 12, "pct_start": 1.0},
]
SHORT_WARMUP = ("LinearLR", {"start_factor": 0.1, "total_iters": 8})
JOINED = [
    ([("LinearLR", {}), ("CosineAnnealingLR", {"T_max": 15})], [5]),
    ([SHORT_WARMUP, ("CosineAnnealingLR", {"T_max": 6, "eta_min": 0.02})], [3]),
    ([("LinearLR", {"total_iters": 2}), ("StepLR", {"step_size": 4, "gamma": 0.3})], [6]),
    ([("LinearLR", {"total_iters": 3}), ("StepLR", {"step_size": 2}), ("CosineAnnealingLR", {"T_max": 9})], [3, 8]),
    ([("CosineAnnealingLR", {"T_max": 4}), ("LinearLR", {"start_factor": 0.2, "total_iters": 6})], [4]),
]


def schedules():
    """25 rates of each schedule, and of several that are joined at milestones."""
    figures = []
    single = [([(name, options)], []) for name, each in SINGLE.items() for options in each]
    for sequence, milestones in single + JOINED:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        made = [getattr(lr_scheduler, name)(optimizer, **options) for name, options in sequence]
        schedule = lr_scheduler.SequentialLR(optimizer, made, milestones) if milestones else made[0]
        rates = [optimizer.param_groups[0]["lr"]]
        for _ in range(25):
            optimizer.step()
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
        figures.append({"sequence": sequence, "milestones": milestones, "lr": 0.4, "rates": rates})
    return figures


def one_cycle():
    """Rates and momenta, of SGD's momentum and of Adam's first beta, until the last step."""
    figures = []
    for kind, options in itertools.product(("SGD", "Adam", "RMSprop"), ONE_CYCLE):
        given = {"momentum": 0.9} if kind != "Adam" else {}
        optimizer = getattr(torch.optim, kind)([torch.zeros(1, requires_grad=True)], lr=0.4, **given)
        schedule = lr_scheduler.OneCycleLR(optimizer, **options)
        group = optimizer.param_groups[0]
        rates, momenta = [], []
        for step in range(schedule.total_steps):
            rates.append(group["lr"])
            momenta.append(group["momentum"] if kind != "Adam" else group["betas"][0])
            optimizer.step()
            if step < schedule.total_steps - 1:
                schedule.step()
        figures.append({"optimizer": kind, "given": given, "options": options, "rates": rates, "momenta": momenta})
    return figures


GROUPS = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [{}, {"lr": 0.02, "momentum": 0.0}]),
    ("SGD", {"lr": 0.1}, [{"weight_decay": 0.1}, {"momentum": 0.8, "nesterov": True}]),
    ("Adam", {"lr": 0.1}, [{"betas": [0.5, 0.9]}, {"lr": 0.01, "weight_decay": 0.3}]),
    ("AdamW", {}, [{"lr": 0.1}, {"lr": 0.05, "weight_decay": 0.0}]),
    ("RMSprop", {"lr": 0.05}, [{"alpha": 0.5}, {"centered": True, "momentum": 0.5}]),
]
SCHEDULED = [
    None,
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.005}),
    ("LinearLR", {"start_factor": 0.25, "total_iters": 5}),
    ("OneCycleLR", {"max_lr": [0.2, 0.05], "total_steps": 12}),
    ("ReduceLROnPlateau", {"patience": 1, "factor": 0.5, "min_lr": [0.03, 0.0]}),
]


def groups():
    """11 steps of two parameters in a group each, on the sum of (w - 1)**2 + v**2 + w v, under each schedule."""
    figures = []
    for (kind, shared, options), scheduled in itertools.product(GROUPS, SCHEDULED):
        w, v = (torch.tensor([a, -0.5], dtype=torch.float64, requires_grad=True) for a in (1.5, 0.75))
        listed = [{"params": [p], **own} for p, own in zip((w, v), options, strict=True)]
        optimizer = getattr(torch.optim, kind)(listed, **shared)
        schedule = getattr(lr_scheduler, scheduled[0])(optimizer, **scheduled[1]) if scheduled else None
        path, rates = [], []
        for _ in range(11):
            optimizer.zero_grad()
            loss = ((w - 1) ** 2 + v**2 + w * v).sum()
            loss.backward()
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            path.append([w.tolist(), v.tolist()])
            if schedule:
                schedule.step(*[3.0] * (scheduled[0] == "ReduceLROnPlateau"))
        figures.append(
            {
                "optimizer": kind, "shared": shared, "groups": options, "schedule": scheduled, "path": path,
                "rates": rates,
            }
        )  # fmt: skip
    return {"start": [[1.5, -0.5], [0.75, -0.5]], "figures": figures}


# Falls by little of much, falls, stalls, gets worse, falls by little, stalls.
MEASURED = [
    10.0, 9.7, 9.4, 9.1, 8.6, 8.3, 3.0, 2.0, 1.5, 1.6, 1.49, 1.4899, 1.4899, 1.4899, 1.7, 1.8, 1.2, 1.19999, 1.1999,
    1.19, 1.19, 1.19, 1.3, 1.18, 1.18, 1.18, 1.18, 1.18, 1.18, 1.17, 1.17, 1.17, 1.17, 1.17, 1.17, 1.17,
]  # fmt: skip


def plateaus():
    figures = []
    choices = {
        "mode": ("min", "max"),
        "factor": (0.1, 0.5),
        "patience": (0, 2),
        "cooldown": (0, 3),
        "threshold": ({}, {"threshold": 0.1}, {"threshold": 0.1, "threshold_mode": "abs"}),
        "min_lr": ({}, {"min_lr": 0.03}, {"eps": 0.05}),
    }
    for mode, factor, patience, cooldown, threshold, least in itertools.product(*choices.values()):
        options = {"mode": mode, "factor": factor, "patience": patience, "cooldown": cooldown, **threshold, **least}
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        schedule = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for value in MEASURED:
            schedule.step(value if mode == "min" else 20 - value)
            rates.append(optimizer.param_groups[0]["lr"])
        figures.append({"options": options, "rates": rates})
    return {"measured": MEASURED, "lr": 0.4, "figures": figures}


GRADIENTS = [[[3.0, -4.0], [0.5, 0.0]], [12.0, -0.25, 1e-9], None, -2.0]


def clipping():
    figures = []
    for scale, norm_type, bound in itertools.product(
        (1.0, 1e-3, 1e5), (0.5, 1.0, 2.0, 3.0, math.inf), (0.01, 1.0, 20.0)
    ):
        parameters = []
        for g in GRADIENTS:
            p = torch.zeros(torch.tensor(g or 0.0).shape, dtype=torch.float64, requires_grad=True)
            p.grad = None if g is None else torch.tensor(g, dtype=torch.float64) * scale
            parameters.append(p)
        norm = torch.nn.utils.clip_grad_norm_(parameters, bound, norm_type)
        by_norm = [None if p.grad is None else p.grad.tolist() for p in parameters]
        for p, g in zip(parameters, GRADIENTS, strict=True):
            p.grad = None if g is None else torch.tensor(g, dtype=torch.float64) * scale
        torch.nn.utils.clip_grad_value_(parameters, bound)
        by_value = [None if p.grad is None else p.grad.tolist() for p in parameters]
        options = {"scale": scale, "norm_type": norm_type, "bound": bound}
        figures.append({**options, "norm": norm.item(), "by_norm": by_norm, "by_value": by_value})
    return {"gradients": GRADIENTS, "figures": figures}


figures = {
    "torch": torch.__version__,
    "schedules": schedules(),
    "one_cycle": one_cycle(),
    "groups": groups(),
    "plateaus": plateaus(),
    "clipping": clipping(),
}
path = pathlib.Path(__file__).with_name("torch_training.json")
path.write_text("{\n" + ",\n".join(f'"{name}": {json.dumps(figure)}' for name, figure in figures.items()) + "\n}\n")
