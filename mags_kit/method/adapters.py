"""LoRA adapters as PEFT saves them: a new one, one that was saved, and how one is saved."""

import shutil
from pathlib import Path

from mags_kit.config import Config
from mags_kit.method import processes
from mags_kit.method.families import Family
from mags_kit.records import write_json
from mags_kit.run import mend_modes

# Where transformers 4.52 and later have the parts of a model, by the names that adapters saved before it have.
MOVED = {r"^model\.(layers|embed_tokens|norm)\.": r"model.language_model.\1.", r"^visual\.": "model.visual."}


def with_adapter(model, config: Config, family: Family, adapter, trainable: bool):
    from peft import LoraConfig, PeftModel, get_peft_model

    if adapter:
        if not Path(adapter, "adapter_config.json").exists():
            raise ValueError(f"adapter {str(adapter)!r}: expected a folder with adapter_config.json, as PEFT saves it")
        return _filled(PeftModel.from_pretrained(model, adapter, is_trainable=trainable, key_mapping=MOVED), adapter)
    lora = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, target_modules=family.lora, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, lora)


def _filled(model, adapter):
    """The model, if every weight of the adapter found its place: PEFT leaves out what it cannot place."""
    from peft import get_peft_model_state_dict, load_peft_weights

    stored = set(load_peft_weights(str(adapter), device="cpu", key_mapping=MOVED))
    lost = sorted(stored ^ set(get_peft_model_state_dict(model, save_embedding_layers=False)))
    if lost:
        raise ValueError(
            f"adapter {str(adapter)!r}: {len(lost)} weights fit nowhere in this model or are missing, as {lost[0]}; "
            "expected an adapter of this model"
        )
    return model


def save_adapter(policy, folder: Path, note: dict | None = None) -> None:
    """Write the adapter as PEFT saves it, whole or not at all, with a `note` on why it was chosen; every process
    calls this.

    TRL keeps a copy of the adapter's start beside it for the KL penalty; that is not saved.
    """
    named = [(name, p.detach()) for name, p in policy.model.named_parameters() if "lora_" in name]
    whole = {name: p.full_tensor() if hasattr(p, "full_tensor") else p for name, p in named}  # FSDP has shares
    if processes.here().is_main_process:
        new = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(new, ignore_errors=True)
        policy.model.save_pretrained(new, state_dict=whole, selected_adapters=["default"])
        mend_modes(new)
        if note:
            write_json(new / "chosen.json", note)
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    processes.here().wait_for_everyone()
