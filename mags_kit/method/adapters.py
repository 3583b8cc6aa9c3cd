"""LoRA adapters in PEFT's format: make, load and save them."""

import shutil
from pathlib import Path

from mags_kit.config import Config
from mags_kit.method import processes
from mags_kit.method.families import Family
from mags_kit.records import write_json
from mags_kit.run import mend_modes


def with_adapter(model, config: Config, family: Family, adapter, trainable: bool):
    """The model with the adapter of the folder `adapter`, or with a new one where that is empty."""
    from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, load_peft_weights

    if adapter:
        if not Path(adapter, "adapter_config.json").exists():
            raise ValueError(f"adapter {str(adapter)!r}: expected a folder with adapter_config.json, as PEFT saves it")
        model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
        stored = set(load_peft_weights(str(adapter), device="cpu"))
        lost = sorted(stored ^ set(get_peft_model_state_dict(model, save_embedding_layers=False)))
        if lost:  # PEFT itself leaves out weights that match no layer
            wrong = f"{len(lost)} weights fit nowhere in this model or are missing, as {lost[0]}"
            raise ValueError(f"adapter {str(adapter)!r}: {wrong}; expected an adapter of this model")
        return model
    sizes = {"r": config.lora_rank, "lora_alpha": config.lora_alpha}
    return get_peft_model(model, LoraConfig(**sizes, target_modules=family.lora, task_type="CAUSAL_LM"))


def save_adapter(policy, folder: Path, note: dict | None = None) -> None:
    """Write the adapter, whole or not at all, with a `note` on why it was chosen; every process has to call this."""
    named = [(name, p.detach()) for name, p in policy.model.named_parameters() if "lora_" in name]
    whole = {name: p.full_tensor() if hasattr(p, "full_tensor") else p for name, p in named}  # from FSDP's shares
    if processes.here().is_main_process:
        new = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(new, ignore_errors=True)
        # not TRL's copy of its start, "ref"
        policy.model.save_pretrained(new, state_dict=whole, selected_adapters=["default"])
        mend_modes(new)
        if note:
            write_json(new / "chosen.json", note)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    processes.here().wait_for_everyone()
