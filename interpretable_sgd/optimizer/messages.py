"""What the optimizers will not do in silence, and the words in which they say so."""

NO_HEAD = (
    "layers='head' found nothing to route: {}. Every parameter gets the plain update; name the layer "
    "with layers= to route it"
)
NO_LAYER = "no Linear or convolution layer that owns a parameter of the optimizer has run forward"
FOREIGN = (
    "the last layer with weights that ran is {}, which cannot be routed: it is no plain Linear layer or "
    "convolution whose trained weight belongs to this optimizer"
)
NOT_LOGITS = (
    "the last Linear layer that ran is '{}' with {} outputs, which is the size of none of the model's "
    "outputs"
)
SEVERAL = (
    "several layers return an output of the model: {}; routed is the last that ran, '{}'. Choose with "
    "layers="
)
UNSEEN = "used without their layer's forward, so trained plainly: {}"
NO_STATISTICS = (
    "the gradient of {} came without the layer's statistics, as from torch.autograd.grad, "
    "backward(inputs=...), functional_call or a loss too small for its square: it cannot be routed, and "
    "is trained plainly in such steps. Call backward() on the loss"
)
LOST = (
    "the loaded state is of phase {!r}, but holds no statistics of a routed layer: routing starts afresh. With "
    "torch.distributed.checkpoint, take a training step before get_optimizer_state_dict, which asks "
    "only for what the optimizer holds by then"
)
SPLIT = (
    "layers must not choose weights that are split within a layer (tensor parallelism), got {}, "
    "whose weight runs as a DTensor; fully_shard is supported"
)
REPLICAS = (
    "torch.nn.DataParallel trains copies of the layers in threads, which the optimizer does not see; use "
    "DistributedDataParallel"
)
CAPTURED = (
    "step() cannot be captured in a CUDA graph before the layers have settled, since every step selects "
    "anew; capture forward and backward, and call step() after each replay"
)
SEPARATE = (
    "several processes run and no DistributedDataParallel or fully_shard model was found, so each "
    "selects from its own samples. If they average gradients in another way, pass process_group= to "
    "attach()"
)
DISAGREE = (
    "the processes of this model route different weights ({}), as under ZeroRedundancyOptimizer: "
    "every parameter gets the plain update. Shard with fully_shard instead"
)
CE3 = (
    "Algorithm 3 as printed does not descend the loss: on a separable two-class problem it ends at 0 % "
    "accuracy with a growing loss (counterexample CE3 in docs/method.md); watch bias_ratio(), or use "
    "method='routed'"
)
UNSETTLED = (
    "{} has not settled: a row reads up to {} connections, not {}. {}; optimizer.settle() cuts at the next "
    "step"
)
