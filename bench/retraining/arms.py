"""The arms of the GPU case: what each trains with."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from retrain.train.speed.memory import Plan


@dataclass(frozen=True)
class Arm:
    """`trl`: TRL's trainer as it is. `today`: the recipe before packing. `ours`: a profile, or a plan that is given."""

    kind: Literal["trl", "today", "ours"]
    varlen: bool = False
    profile: Literal["fast", "lean", "auto"] = "auto"
    share: float | None = None  # of the memory that trl_default took: the budget
    plan: dict[str, Any] | None = None  # fields of `Plan` in place of the estimate's choice

    def planned(self, tokens: int) -> Plan | None:
        return None if self.plan is None else Plan(**{"tokens": tokens, **self.plan})


# A budget leaves the estimate room: 3 % above what it says was the most that it was off by where it was measured.
RESULTS: Final = {
    "trl_default": Arm("trl"),
    "trl_varlen": Arm("trl", varlen=True),
    "today": Arm("today"),
    "fast": Arm("ours", profile="fast"),
    "lean": Arm("ours", profile="lean", share=0.72),
    "equal": Arm("ours", profile="auto", share=1.01),
}
ALL: Final = 38912  # columns that the whole layer of the 8B shape keeps: q, k, v, o, gate, up
# For a session that picks: each is one question.
VARIANTS: Final = {
    "full_recompute": Arm("ours", plan={"keep": 0}),
    "attention_kept": Arm("ours", plan={"keep": 1}),
    "products_kept": Arm("ours", plan={"keep": ALL}),
    "products_kept_unpacked": Arm("ours", plan={"keep": ALL, "unpacked": True}),
    "nothing_twice": Arm("ours", plan={"keep": None}),
    "nothing_twice_unpacked": Arm("ours", plan={"keep": None, "unpacked": True}),
    "every_second": Arm("ours", plan={"keep": ALL, "every": 2}),
    "lean_offload": Arm("ours", plan={"keep": 0, "offload": 4096, "host_words": True}),
    "lean_offload_attention": Arm("ours", plan={"keep": 6144, "offload": 13000, "host_words": True}),
    "lean_8bit": Arm("ours", plan={"keep": 5120, "offload": 13000, "host_words": True, "optimiser": "adamw_8bit"}),
    "lean_half": Arm("ours", plan={"tokens": 4096, "keep": 10240, "offload": 13000, "host_words": True}),
    "lean_quarter": Arm("ours", plan={"tokens": 2048, "keep": 24576, "offload": 13000, "host_words": True}),
    "equal_half": Arm("ours", plan={"tokens": 4096, "keep": 24576, "offload": 13000, "host_words": True}),
    "equal_quarter": Arm("ours", plan={"tokens": 2048, "keep": ALL, "offload": 13000, "host_words": True}),
    "equal_quarter_card": Arm("ours", plan={"tokens": 2048, "keep": ALL, "host_words": True}),
    "equal_whole": Arm("ours", plan={"keep": 10240, "offload": 13000, "host_words": True}),
}
ARMS: Final = RESULTS | VARIANTS
