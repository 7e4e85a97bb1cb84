"""The paper's own numbers, typed from its text; percent.

Sun, Ravi and Singh, Adaptive Activation Thresholding: Dynamic Routing Type Behavior for Interpretability
in Convolutional Neural Networks, ICCV 2019.
"""

from __future__ import annotations

# Table 1, "Accuracy for different ResNets on Places365 and Cifar10"; single runs, no spread is given.
# It has no row for Res18-L1, whose curve and weights Figure 4 shows.
TOP1 = {
    "cifar10": {
        "resnet18": 95.10,
        "resnet18_d1a": 95.02,
        "resnet18_d5a": 95.12,
        "resnet18_d10a": 95.22,
        "resnet18_d25a": 95.04,
        "resnet18_d50a": 95.06,
        "resnet18_d100a": 95.12,
        "resnet50": 95.62,
        "resnet50_d25a": 95.58,
    },
    "places365": {
        "resnet18": 53.69,
        "resnet18_d1a": 27.83,
        "resnet18_d5a": 53.60,
        "resnet18_d10a": 53.64,
        "resnet18_d25a": 53.87,
        "resnet18_d50a": 53.58,
        "resnet18_d100a": 53.81,
        "resnet50": 54.74,
        "resnet50_d25a": 55.00,
        "resnet18_d32_32_5a": 53.48,  # supplement, section 2
    },
}
TOP5 = {
    "places365": {
        "resnet18": 83.78,
        "resnet18_d1a": 57.56,
        "resnet18_d5a": 84.15,
        "resnet18_d10a": 84.06,
        "resnet18_d25a": 84.25,
        "resnet18_d50a": 84.91,
        "resnet18_d100a": 83.92,
        "resnet50": 85.08,
        "resnet50_d25a": 85.07,
        "resnet18_d32_32_5a": 83.97,  # supplement, section 2
    },
}
# Section 4.2, of Places365: "Res18-d5a can achieve within 0.1% best Top1 accuracy with 99% sparsity"
SPARSITY_D5A = 99.0
# Section 4.3: "more than 95% classes can be represented with at most 5 concepts"
CLASSES_OF_5_CONCEPTS = 95.0
# Section 4.3: fewer than 5 units explain "about 98% of the image with 2% inexplicable residual"; with an
# external framework on the baseline "the residual drops to 45%"
RESIDUAL = {"resnet18_d5a": 2.0, "resnet18": 45.0}
# Supplement, section 2: "more than 80% higher layer's units can be represented with at most 5 concepts"
UNITS_OF_5_CONCEPTS = 80.0
NAMES = {
    "resnet18": "Res18",
    "resnet18_d1a": "Res18-d1a",
    "resnet18_d5a": "Res18-d5a",
    "resnet18_d10a": "Res18-d10a",
    "resnet18_d25a": "Res18-d25a",
    "resnet18_d50a": "Res18-d50a",
    "resnet18_d100a": "Res18-d100a",
    "resnet18_l1": "Res18-L1",
    "resnet50": "Res50",
    "resnet50_d25a": "Res50-d25a",
    "resnet18_d32_32_5a": "Res18-d[32,32,5]a",
    "resnet18_isgd": "Res18-ISGD",
}
