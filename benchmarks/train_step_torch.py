"""PyTorch's training step of the same network, for benchmarks.train_step.

Runs in an environment of its own, with torch and torchvision.
"""

import json
import sys
import time
from typing import Any

import torch
import torchvision

from benchmarks import rounds


def main() -> None:
    """Serves a work for each precision."""
    options = json.loads(sys.argv[1])
    torch.set_num_threads(options["threads"])
    torch.manual_seed(0)
    batch, size = options["batch_size"], options["image_size"]
    model = torchvision.models.inception_v3(
        weights=None,
        aux_logits=False,
        init_weights=False,
        num_classes=options["classes"],
    )
    model.dropout = torch.nn.Identity()
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.045)
    images = torch.rand(batch, 3, size, size)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.randint(0, options["classes"], (batch,))

    def train(precision: str, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(
                "cpu", torch.bfloat16, enabled=precision == "bfloat16"
            ):
                logits = model(images)
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
        loss.item()

    def work(precision: str) -> dict[str, Any]:
        train(precision, options["warm_steps"])
        start, used = time.perf_counter(), time.process_time()
        train(precision, options["steps"])
        return {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - used,
        }

    for precision in options["precisions"]:
        train(precision, 1)
    rounds.serve(
        {p: lambda p=p: work(p) for p in options["precisions"]},
        version=torch.__version__,
    )


if __name__ == "__main__":
    main()
