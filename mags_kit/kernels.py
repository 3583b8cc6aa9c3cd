"""Kernels for notebooks, each started while the notebook before it runs: its imports are done when its turn comes."""

import atexit

# What most of the notebooks load, a few seconds each; none of it starts work of its own.
LOADED = ("torch", "transformers", "peft", "bitsandbytes", "mags_kit.experiments", "mags_kit.viz.charts")


class Kernels:
    """`take` gives a fresh kernel, its libraries loaded or loading, and `close` ends what was given or waits.

    A kernel whose parent is gone ends by itself: none is left where this process is killed.
    """

    def __init__(self):
        self.spare, self.taken = None, None
        atexit.register(self.close)

    def take(self, another: bool):
        """A running kernel's manager, as papermill takes it; with `another` the next one starts now."""
        if self.spare is not None and not self.spare.is_alive():  # killed, as for want of memory
            _end(self.spare)
            self.spare = None
        self.taken, self.spare = self.spare or _started(), None
        if another:
            self.spare = _started()
        return self.taken

    def give_back(self) -> None:
        """End the kernel that was taken."""
        self.taken, done = None, self.taken
        _end(done)

    def close(self) -> None:
        """End them all."""
        self.give_back()
        self.spare, waits = None, self.spare
        _end(waits)
        atexit.unregister(self.close)


def _started():
    from jupyter_client import KernelManager

    class Manager(KernelManager):
        """One that knows the client that speaks to its kernel, which papermill leaves talking."""

        speaking = None

        def client(self, **options):
            self.speaking = super().client(**options)
            return self.speaking

    manager = Manager(kernel_name="python3", client_class="jupyter_client.asynchronous.AsyncKernelClient")
    line = f"__import__('mags_kit.compat').compat.load({LOADED!r})"  # so that no name of it stands in the notebook's
    quiet = "--IPKernelApp.log_level=40"  # or it warns that it speaks to this machine without encryption
    manager.start_kernel(extra_arguments=[quiet, f"--IPKernelApp.exec_lines={line}"])
    return manager


def _end(manager) -> None:
    if manager is not None and manager.has_kernel:
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
    if manager is not None and manager.speaking:
        manager.speaking.stop_channels()
