"""The paper's own numbers, typed from its text; percent.

Sun, Ravi and Singh, Adaptive Activation Thresholding: Dynamic Routing Type Behavior for Interpretability
in Convolutional Neural Networks, ICCV 2019.
"""

# Table 1, "Accuracy for different ResNets on Places365 and Cifar10"; single runs, no spread is given.
# It has no row for Res18-L1, whose curve and weights Figure 4 shows.
TOP1 = {
    "cifar10": {
        "Res18": 95.10,
        "Res18-d1a": 95.02,
        "Res18-d5a": 95.12,
        "Res18-d10a": 95.22,
        "Res18-d25a": 95.04,
        "Res18-d50a": 95.06,
        "Res18-d100a": 95.12,
        "Res50": 95.62,
        "Res50-d25a": 95.58,
    },
    "places365": {
        "Res18": 53.69,
        "Res18-d1a": 27.83,
        "Res18-d5a": 53.60,
        "Res18-d10a": 53.64,
        "Res18-d25a": 53.87,
        "Res18-d50a": 53.58,
        "Res18-d100a": 53.81,
        "Res50": 54.74,
        "Res50-d25a": 55.00,
        "Res18-d[32,32,5]a": 53.48,  # supplement, section 2
    },
}
TOP5 = {
    "places365": {
        "Res18": 83.78,
        "Res18-d1a": 57.56,
        "Res18-d5a": 84.15,
        "Res18-d10a": 84.06,
        "Res18-d25a": 84.25,
        "Res18-d50a": 84.91,
        "Res18-d100a": 83.92,
        "Res50": 85.08,
        "Res50-d25a": 85.07,
        "Res18-d[32,32,5]a": 83.97,  # supplement, section 2
    }
}
# Section 4.2, of Places365: "Res18-d5a can achieve within 0.1% best Top1 accuracy with 99% sparsity"
SPARSITY_D5A = 99.0
# by network and method
NAMES = {
    ("resnet18", "SGD"): "Res18",
    **{("resnet18", f"Dynamic-{k}"): f"Res18-d{k}a" for k in (1, 5, 10, 25, 50, 100)},
    ("resnet18", "Dynamic-[32,32,5]"): "Res18-d[32,32,5]a",
    ("resnet18", "SGD with L1"): "Res18-L1",
    ("resnet18", "InterpretableSGD"): "Res18-ISGD",
    ("resnet18", "Algorithm 3"): "Res18-Algorithm 3",
    ("resnet18", "shared masks"): "Res18-ISGD shared",
    ("resnet50", "SGD"): "Res50",
    ("resnet50", "Dynamic-25"): "Res50-d25a",
}


def title(model: str, method: str) -> str:
    """How tables call a network and how it was trained, by the paper's name where it has one.

    >>> title("resnet18", "Dynamic-5"), title("resnet18", "InterpretableSGD, block_size=3")
    ('Res18-d5a', 'Res18-ISGD, block_size=3')
    """
    known, comma, options = method.partition(", ")
    return NAMES.get((model, known), f"{model} {known}") + comma + options
