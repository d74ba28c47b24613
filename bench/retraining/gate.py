"""`python -m bench.retraining.gate`: the correctness gate at the width that is measured; no figure without it.

Two layers of the 8B shape, the plans of the results in turn. Reads a task as `bench.retraining.arm` does.
"""

import dataclasses
import json
import sys
import warnings
from typing import Any, Final

import torch

from bench.retraining.arms import ALL
from bench.retraining.model import SIZES, adapted, documents, llama, pattern
from retrain.train.speed.gate import judge
from retrain.train.speed.memory import Plan, Shape, budgets
from retrain.train.speed.prepare import apply

# Every way of computing that an arm of the results may choose is in one of these.
PLANS: Final[dict[str, dict[str, Any]]] = {
    "nothing_twice_unpacked": {"keep": None, "unpacked": True},
    "products_kept": {"keep": ALL},
    "some_kept_offload_host": {"keep": 6144, "offload": 13000, "host_words": True},
}


def run(task: dict[str, Any]) -> dict[str, Any]:
    size = SIZES[task["size"]]
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    texts = [torch.tensor(ids) for ids in documents(size, size.row // 2, seed=1)]
    toy = [torch.tensor(ids) for ids in pattern(size, size.row // 8)]
    found = {}
    for name, fields in PLANS.items():
        torch._dynamo.reset()
        plan = Plan(**{"tokens": size.row, **fields})
        if device.type == "cpu":
            plan = _small(plan, size)
        fast, reference = (adapted(llama(size, device)) for _ in range(2))
        apply(fast, plan, profile="auto", device=device, rank=16, packed=True, backend=task.get("backend", "inductor"))
        verdict = judge(fast, reference, texts, toy)
        found[name] = dataclasses.asdict(verdict) | {"reasons": verdict.reasons}
        del fast, reference
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return {"gate": found, "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}


def _small(plan: Plan, size: Any) -> Plan:
    shape = Shape(size.hidden, size.layers, size.heads, size.hidden // 2, size.feed_forward, size.vocabulary)
    keep = None if plan.keep is None else budgets(shape)[-1 if plan.keep == ALL else 4]
    return dataclasses.replace(plan, keep=keep, offload=size.hidden if plan.offload else 0)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    line = sys.stdin.readline()
    if line.strip():
        print(json.dumps(run(json.loads(line))), flush=True)
