"""Names: what published files call a parameter, and what our network calls it.

Where it was natural our networks took the published names, and nothing is left to do. Every rule is a pattern and its replacement;
a replacement of None leaves the tensor out.
"""

import re

# Counts of batches that PyTorch keeps beside the running averages, and the prefix of networks saved from several GPUs.
EVERYWHERE = ((r"(^|.*\.)num_batches_tracked$", None), (r"^module\.", ""))

RULES = {
    # Saved when a module's name could hold a dot.
    "densenet121": ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
    # The auxiliary classifiers, which only training needs.
    "googlenet": ((r"^aux[12]\.", None),),
    "ssd300_vgg16": ((r"^backbone\.", "features."), (r"^head\.classification_head\.module_list\.", "class_heads."),
                     (r"^head\.regression_head\.module_list\.", "box_heads.")),
    # One layer deeper since torchvision 0.14.
    "fasterrcnn_resnet50_fpn": ((r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
                                (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1")),
    "squeezenet1_1_caffe": ((r"^conv1\.", "features.0."), (r"^conv10\.", "classifier.1."),
                            *((rf"^fire{k}/", f"features.{place}.") for k, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12))),
                            (r"\.squeeze1x1\.", ".squeeze.")),
    "ultraface": ((r"^classification_headers\.", "class_heads."), (r"^regression_headers\.", "box_heads."),
                  (r"^(base_net|extras)\.", r"features.\1.")),
}


def translated(state, network=None):
    """{our name: array} of a published state dict {name: array} for a network that RULES knows, or for one that needs no rule.

    ValueError where two tensors would get the same name.
    """
    found = {}
    for name, x in state.items():
        new = renamed(name, (*EVERYWHERE, *RULES.get(network, ())))
        if new in found:
            raise ValueError(f"{name} and another tensor would both be {new}")
        if new is not None:
            found[new] = x
    return found


def renamed(name, rules):
    for pattern, replacement in rules:
        if re.search(pattern, name):
            if replacement is None:
                return None
            name = re.sub(pattern, replacement, name)
    return name
