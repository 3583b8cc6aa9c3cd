"""A process of tests/test_processes.py: `mags_kit train evaluate` with replies given, so that two can equal one.

`given_replies.py PROJECT …` notes in PROJECT/seen-INDEX-of-COUNT.json which samples each rollout began with.
"""

import sys
import zlib
from pathlib import Path

from mags_kit import __main__, compat, run as runs
from mags_kit.method import processes, protocol
from mags_kit.records import write_json

CALL = protocol.tool_call_text([(120, 120, 320, 320)])
FIRST = (
    f"<think>the red disc</think><draft>1</draft>{CALL}",
    "<think>the red disc</think><answer>2</answer>",
    f"<draft>2</draft>{CALL}",
    CALL.split("]]")[0],
)
SECOND = [f"<rethink>the view shows {n}</rethink><answer>{n}</answer>" for n in ("1", "2", "yes", "no")]


def first_reply(number: int, place: int) -> str:
    """Of the trajectory at a place of a rollout's batch; the second half of the first batch calls no tool."""
    return FIRST[1 if number == 0 and place >= 6 else (3 * place + place // 4 + number) % 4]


def give(project: Path, put=setattr) -> None:
    """Replace TRL's sampling by the given replies, and note the samples."""
    compat.transformers()
    from trl import GRPOTrainer

    seen, score = [], GRPOTrainer._generate_and_score_completions

    def turn(trainer, prompts, images, fields, num_generations, has_tool_images=False):
        if num_generations > 1:  # the first round, in which every trajectory takes part
            start = processes.here().process_index * len(prompts)
            texts = [first_reply(len(seen) - 1, start + i) for i in range(len(prompts))]
        else:
            texts = [SECOND[zlib.crc32(repr(ids).encode()) % len(SECOND)] for ids in prompts]
        tokenizer = trainer.processing_class.tokenizer
        ends = [[] if text.endswith(protocol.CALL[1]) else [tokenizer.eos_token_id] for text in texts]
        return [tokenizer.encode(text) + end for text, end in zip(texts, ends, strict=True)], None

    def spy(trainer, rows):
        seen.append([row["number"] for row in rows])
        here = processes.here()
        write_json(project / f"seen-{here.process_index}-of-{here.num_processes}.json", seen)
        return score(trainer, rows)

    put(GRPOTrainer, "_generate_single_turn", turn)
    put(GRPOTrainer, "_generate_and_score_completions", spy)


if __name__ == "__main__":
    runs.PROJECT = Path(sys.argv[1])
    give(runs.PROJECT)
    __main__.main(["train", "evaluate", *sys.argv[2:]])
