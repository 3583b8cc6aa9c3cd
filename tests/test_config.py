from mags_kit.config import PROFILES, load_config

WRONG = [  # (profile, settings, what the error says)
    ("gpu", {}, "PROFILE='gpu' is unknown; expected one of smoke, cpu, rule, reference, paper, paper-7b"),
    ("cpu", {"max_step": 2}, "setting 'max_step' is unknown"),
    ("cpu", {"temprature": 1.0}, "did you mean temperature?"),
    ("cpu", {"test": "many"}, "test='many' is str; expected int, as 300"),
    ("cpu", {"four_bit": 1}, "expected bool"),
    ("cpu", {"magnifier": "lens"}, "magnifier='lens'; expected one of realesr-animevideov3"),
    ("cpu", {"curriculum": "random"}, "curriculum='random'; expected one of easy_first"),
    ("cpu", {"orders": ["shuffled, sparse"]}, "orders=('shuffled, sparse',); expected some of easy_first, shuffled"),
    ("cpu", {"num_generations": 1}, "num_generations=1; expected at least 2"),
    ("cpu", {"curated": 999}, "cannot come from a pool of"),
    ("cpu", {"own": "nowhere.jsonl"}, "DATA=nowhere.jsonl: no such file"),
    ("cpu", {"train": "nowhere.jsonl"}, "TRAIN=nowhere.jsonl: no such file; expected a JSONL"),
    ("cpu", {"train": __file__, "own": __file__}, "expected two files, with other pictures in each"),
    ("cpu", {"curated_ids": "nowhere.txt"}, "CURATED=nowhere.txt: no such file; expected ids of candidates"),
    ("cpu", {"train": __file__, "pool": 0, "curated": 0, "validation": 0, "stage_steps": 0}, "pool=0 trains nothing"),
    ("cpu", {"test": 0}, "test=0; expected at least 1; 0, all rows, is for benchmarks and for DATA="),
    ("paper", {"test": -1}, "test=-1; expected at least 0"),
    ("cpu", {"rewards": {"beauty": 1.0}}, "reward 'beauty' is unknown"),
    ("paper", {"mirror": "nowhere"}, "mirror='nowhere': no such folder"),
    ("paper", {"test_sets": "all"}, "test_sets='all'; expected one of grit, full"),
    ("cpu", "{seed: ", "is not YAML"),
    ("cpu", "seed", "expected a mapping"),
    ("cpu", "{seed: !!python/object/apply:os.mkdir [ran]}", "is not YAML"),  # settings are data
    ("cpu", "!!python/object/new:os.system [true]", "is not YAML"),
    ("smoke", {"optimizer": "adamx"}, "optimizer='adamx'; expected one of adamw_torch_fused"),
    ("smoke", {"tracker": "notebook"}, "tracker='notebook'; expected one of ''"),
    ("smoke", {"tracker": "wandb"}, "tracker='wandb' is not installed; install it, or set tracker: none"),
    ("smoke", {"vllm": True}, "vllm: true needs four_bit: false"),
    ("smoke", {"vllm": True, "four_bit": False}, "vllm: true, but vllm is not installed"),
    ("smoke", {"rollout_batch": 6}, "rollout_batch=6; expected a multiple of num_generations=4"),
    ("smoke", {"micro_batch": 3}, "micro_batch=3; expected a divisor of the 8 trajectories"),
    ("smoke", {"grpo": {"los_type": "grpo"}}, "grpo setting 'los_type' is unknown; expected one of loss_type,"),
    ("smoke", {"rewards": {"nowhere.py:brief": 1.0}}, "rewards: nowhere.py: no such file; expected one that defines"),
    ("smoke", {"gate": "right"}, "gate='right'; expected one of answer, always, none"),
    ("smoke", {"prompts": {"round 1": "{question}"}}, "prompt 'round 1' is unknown; expected one of two, free, reason"),
    ("smoke", {"prompts": {"two": "{question} {image}"}}, "prompt 'two' is '{question} {image}'; expected a text"),
    ("smoke", {"prompts": {"two": '{question} {"a": 1}'}}, "in braces, and two for a brace itself"),
    ("smoke", {"prompts": {"two": 3}}, "prompt 'two' is 3; expected a text with some of question,"),
    ("smoke", {"prompts": {"again": "{question} Look again."}}, "expected a text with nothing in braces, and two for"),
    ("smoke", {"max_looks": 5}, "max_looks=5; expected 1 to 4"),
    ("smoke", {"scale_rewards": "all"}, "scale_rewards='all'; expected one of group, batch, none"),
    ("smoke", {"learning_rate": "nan"}, "learning_rate=nan; expected 0 or more"),
    ("smoke", {"beta": "inf"}, "beta=inf; expected 0 or more"),
    ("smoke", {"rewards": {"answer": "much"}}, "rewards: answer='much'; expected a number as its weight"),
    ("smoke", {"rewards": {"answer": float("nan")}}, "rewards: answer=nan; expected a number"),
    ("smoke", {"stage_steps": [3, -1]}, "stage_steps=(3, -1); expected 0 or more each"),
    ("smoke", {"pool": 0}, "pool=0; expected at least 1"),
    ("smoke", {"pass_k": -1}, "pass_k=-1; expected at least 0"),
    ("smoke", {"validate_every": 0}, "validate_every=0; expected at least 1"),
    ("smoke", {"cold_start": -1}, "cold_start=-1; expected at least 0"),
    ("smoke", {"cold_start": 9, "stage_steps": [0]}, "cold_start=9 is a start for RL; expected 0 where stage_steps"),
    ("smoke", {"benchmarks": []}, "benchmarks=(); expected some of vsr, tallyqa, gqa"),
]


def test_a_wrong_setting_is_one_clear_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # as if no tracker and no vllm were installed
    failures = []
    for profile, settings, said in WRONG:
        try:
            load_config(profile, settings)
        except ValueError as error:
            if said in str(error) and "\n" not in str(error):
                continue
            failures.append((settings, said, str(error)))
        else:
            failures.append((settings, said, "accepted"))
    assert not failures


def test_settings_change_a_profile():
    config = load_config("cpu", "{seed: 3, stage_steps: [1, 2], learning_rate: 1e-4, rewards: {verify: 0}}")
    assert (config.seed, config.stage_steps, config.learning_rate) == (3, (1, 2), 1e-4)
    assert config.rewards == {**PROFILES["cpu"].rewards, "verify": 0}
