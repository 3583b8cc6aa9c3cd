"""The Mags-RL kit: a vision-language model with a magnifying glass, and how it learns where to look.

The rooms, in reading order; a test holds which may import which. `method/` is what the paper does; the README names
those of its modules that one reads in an hour. How a sample goes through them is `experiments`' three steps,
`measure_pool`, `curate` and `train`.

    dials, config                     GRPO's settings, and what goes together; all settings
    records, images, runs, branches   what is passed on, and its files; an image; the run folder; runs inside it
    method/   protocol, families      what is said between the kit and a policy; the box codec; what is a model's own
              replies                 reading what a policy wrote
              look                    one look in two rounds, and the agent that looks
              magnifier, networks     crop and enlarge; Real-ESRGAN's networks
              policy, adapters, features, rollout    load and sample a model; its LoRA; images seen once; trajectories
              scoring                 whether an answer is right, by the benchmarks' rules
              rewards, measures     what training pays; what is to be said of a trajectory
              curriculum, visits      which few samples, in which order, and how often
              environment, alarms, validation, keeping, training    TRL's GRPOTrainer, its guards, the best checkpoint,
                                      rollouts kept to be replayed
              processes, memory, fit  several processes; what a step needs of a GPU, and the sizes that fit
    tiny/     drawing, scenes, vision, lessons, model, pretraining, abilities    the small world, and its base model
    data/     values, own, pictures, highres, readers, benchmarks, sets    what questions a run is made of
    report/   statistics, conditions, evidence, evaluation, findings    ways to answer, measured; what they say
              tables, browser, painting, figures, charts, speeds, worth, pays, judge, page, export    for readers
              inspector, replay, progress, playground, handling    trajectories, training again, your own hand
              rescore, compare, claims    a stored run scored anew; two runs; what the README claims
    hardware/ plan, measure, random_model, forcing    what a run needs beside what is here, and what it took
              bench, clock, ground, floor    where people wait: rows timed side by side, and what products alone take
              loops, stepping, enlarging, starting, growth    its parts
    experiments, kernels, pipeline, commands, __main__   a run's parts, seeds and variants; the notebooks; the shell
    holder, fingerprints, steps       one at a time in a run folder; what its parts were made from; which are done
    single, serve                     one look from the shell; the widgets as a page
    status, chaos                     all of that, step by step; a run that is killed, and one that is not
    compat, hub, install, pipes       imports that need a hand; the one place that reaches out; uv, for `make env`;
                                      output that nobody reads on
    launch/, assets/base/             accelerate's settings; the base's weights
"""

import logging
import os

# By default trl and datasets report each run (model, GPU, data sets) to the hub.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")
# Texts here are short; and where memory or processes are limited, tokenizers' threads end Python by a panic.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# On a CPU bitsandbytes says at its import that an optional package is missing, which nobody here has to act on.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
