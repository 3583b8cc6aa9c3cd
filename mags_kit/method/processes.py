"""The processes of `accelerate launch`, and work shared among them; without a launcher there is one process."""


def here():
    """accelerate's state of this process: its index, how many there are, whether it is the main one."""
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())


def dealt(items: list, work) -> list:
    """The results of `work` (list -> list as long) on all items, in order, in every process: each does its share."""
    from accelerate.utils import gather_object

    share = slice(here().process_index, None, here().num_processes)
    made = gather_object(list(zip(range(len(items))[share], work(items[share]), strict=True)))
    return [result for _, result in sorted(made, key=lambda pair: pair[0])]


def main_says(ask, *arguments):
    """The main process's result of `ask(*arguments)`, in all processes; files may change before another one asks."""
    from accelerate.utils import broadcast_object_list

    said = [ask(*arguments) if here().is_main_process else None]
    return (broadcast_object_list(said) if here().num_processes > 1 else said)[0]


def main_does(act, *arguments) -> None:
    """`act(*arguments)` in the main process alone; the others wait for it."""
    if here().is_main_process:
        act(*arguments)
    here().wait_for_everyone()


def leave() -> None:
    """Leave the group of processes, at the end; nothing may be shared after it."""
    here().destroy_process_group()
