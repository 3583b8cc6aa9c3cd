"""Fixtures of the benchmarks: every file with the hub's exact columns, and a server of photos that misbehaves."""

import base64
import io
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

TEST_VG, TEST_COCO = range(900, 906), range(800, 804)  # photos that only GRIT's test rows ask for


def jpeg(seed: int, quality: int = 80, size: tuple[int, int] = (64, 48)) -> bytes:
    """A picture of its own for each seed: soft noise, so that copies of other size or quality look alike."""
    rough = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(rough).resize(size, Image.BICUBIC).save(out, "JPEG", quality=quality)
    return out.getvalue()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        number = int(self.path.rsplit("/", 1)[-1].removesuffix(".jpg").rsplit("_", 1)[-1])
        self.server.asked[number] += 1
        how, body = self.server.how.get(number, ""), jpeg(number)
        if how == "gone" or "val2017" in self.path:
            return self.send_error(404)
        if how == "drop" or (how == "drop once" and self.server.asked[number] == 1):
            return self.connection.close()
        if how == "busy once" and self.server.asked[number] == 1:
            return self.send_error(503)
        if how == "cut":
            body = body[: len(body) // 2]
        if how == "text":
            body = b"<html>come back later</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for part in (body[i : i + 200] for i in range(0, len(body), 200)) if how == "drip" else (body,):
            self.wfile.write(part)
            time.sleep(0.2 if how == "drip" else 0)

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_CONNECT(self):  # what a proxy is asked for https
        self.server.asked[self.path] += 1
        self.send_error(502)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64  # else some connections wait a second

    def handle_error(self, *_):  # a client that gave up, or a connection dropped on purpose
        pass


@contextmanager
def photo_server():
    """A server of photos by number, or a proxy that has them. `how[number]` says how it misbehaves."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.asked, server.how, server.url = Counter(), {}, f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def write_mirror(folder):
    """Every file of the benchmarks under `folder`, small, without the photos; returns the folder."""

    def lines(name, rows):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def vsr(number, label):
        name = f"{number:012d}.jpg"
        return {
            "image": name, "image_link": f"http://images.cocodataset.org/train2017/{name}",
            "caption": "The cat is on it.", "label": label, "relation": "on", "subj": "cat", "obj": "it",
            "annotator_id": 1, "vote_true_validator_id": [2], "vote_false_validator_id": [],
        }  # fmt: skip

    for split in ("random", "zeroshot"):
        lines(f"cambridgeltl/vsr_{split}/train.jsonl", [vsr(n, n % 2) for n in [*range(100, 120), *TEST_COCO]])
        lines(f"cambridgeltl/vsr_{split}/dev.jsonl", [vsr(n, n % 2) for n in [*range(110, 125), 800]])
        lines(f"cambridgeltl/vsr_{split}/test.jsonl", [vsr(n, n % 2) for n in range(200, 206)])

    def tally(image, number):
        kind = {"data_source": "amt", "issimple": number % 2 > 0, "question_id": number, "image_id": number}
        return {"answer": number % 4, "image": image, "question": "How many cats?"} | kind

    rows = [tally(f"VG_100K_2/{n}.jpg", n) for n in [*range(300, 330), *TEST_VG]]
    rows += [tally(f"train2014/COCO_train2014_{n:012d}.jpg", n) for n in [*range(330, 340), *TEST_COCO]]
    path = folder / "manoja328/tallyqa/train.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(rows))

    from datasets import Dataset, Features, Value
    from datasets import Image as Picture

    def table(name, rows, features=None):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_list(rows, features=features).to_parquet(str(path))

    def gqa(image, number):
        extra = {"fullAnswer": "It is red.", "isBalanced": True, "types": {"structural": "query"}}
        return {"id": str(number), "imageId": image, "question": "What color?", "answer": "red"} | extra

    for part, numbers in {"train": [*range(400, 430), *TEST_VG], "val": [*range(430, 445), 900]}.items():
        table(f"lmms-lab/GQA/{part}_balanced_instructions/{part}.parquet", [gqa(str(n), n) for n in numbers])
    table("lmms-lab/GQA/testdev_balanced_instructions/testdev.parquet", [gqa(f"n{n}", n) for n in range(5)])
    picture = Features({"id": Value("string"), "image": Picture()})
    rows = [{"id": f"n{n}", "image": {"bytes": jpeg(500 + n), "path": None}} for n in range(5)]
    table("lmms-lab/GQA/testdev_balanced_images/testdev.parquet", rows, picture)
    qa = [{"question": "How many?", "answer": "2", "is_simple": s, "data_source": "amt"} for s in (True, False)]
    rows = [{"image": {"bytes": jpeg(600 + n), "path": None}, "qa": qa} for n in range(4)]
    qa_type = [{"question": Value("string"), "answer": Value("string")}]
    qa_type[0] |= {"is_simple": Value("bool"), "data_source": Value("string")}
    features = Features({"image": Picture(), "qa": qa_type})
    table("vikhyatk/tallyqa-test/data/test-00000-of-00002.parquet", rows[:2], features)
    table("vikhyatk/tallyqa-test/data/test-00001-of-00002.parquet", rows[2:], features)

    options = "\n(A) red\n(B) blue\n(C) green\n(D) white\nAnswer with the option's letter from the given choices."
    asked = {"text": "What is the color of the dustpan?" + options, "category": "direct_attributes", "label": "B"}
    names = [f"direct_attributes/sa_{n}.jpg" for n in range(700, 704)]
    rows = [asked | {"image": name, "question_id": i} for i, name in enumerate(names)]
    lines("craigwu/vstar_bench/test_questions.jsonl", rows)
    note = {"target_object": ["dustpan"], "bbox": [[10, 20, 30, 15]], "question": asked["text"]}
    for number, name in enumerate(names):
        path = folder / "craigwu/vstar_bench" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(700 + number))
        path.with_suffix(".json").write_text(json.dumps(note))
    kind = {"category": "single", "cycle_category": "single", "question": "What number is on the door?"}
    kind |= {"A": "11", "B": "12", "C": "13", "D": "14"}
    rows = [kind | {"index": n, "answer": "ABCD"[n % 4], "category": ("single", "cross")[n > 1]} for n in range(4)]
    rows = [row | {"image": base64.b64encode(jpeg(750)).decode()} for row in rows]  # a question, its options turned
    table("DreamMr/HR-Bench/hr_bench_4k.parquet", rows)
    table("DreamMr/HR-Bench/hr_bench_8k.parquet", rows[:2])

    def grit(dataset, image, answer):
        box = [[-3.0, 4.2, 31.6, 40.0], [50.0, 50.0, 50.0, 60.0]]
        size = {"width": 128, "height": 96, "bboxs": box, "dataset": dataset, "split": "val"}
        return {"question": "What?", "answer": answer, "image": image} | size

    lines("yfan1997/GRIT_data/vsr_val.jsonl", [grit("vsr", f"{n:012d}.jpg", "Yes") for n in TEST_COCO])
    lines("yfan1997/GRIT_data/tallyqa_val.jsonl", [grit("tallyqa", f"VG_100K/{n}.jpg", 2) for n in TEST_VG[:3]] * 2)
    lines("yfan1997/GRIT_data/gqa_val.jsonl", [grit("gqa", f"images/{n}.jpg", "red") for n in TEST_VG[3:]])
    return folder
