"""Readers of the rows of VSR, TallyQA and GQA and of GRIT's subsets, by the columns that their files have."""

from mags_kit.data import highres


def _vsr(row):
    question = row["caption"] and f"Is this statement about the image true? {row['caption']}"
    answer = {0: "no", 1: "yes"}.get(row["label"]) if isinstance(row["label"], (int, float)) else None
    yield question, answer, row["image"], (), None


def _tallyqa(row):
    yield row["question"], row["answer"], row["image"], (), None


def _tallyqa_hub(row):
    for qa in row["qa"] or ():
        yield qa["question"], qa["answer"], (row["image"] or {}).get("bytes"), (), None


def _gqa(row):
    yield row["question"], row["answer"], f"{row['imageId']}.jpg", (), None


def _grit(row):
    yield row["question"], row["answer"], row["image"], row["bboxs"], (row["width"], row["height"])


READERS = {  # what gives (question, answer, picture's path or bytes, boxes, size they are for); columns it needs
    "vsr": (_vsr, ("image", "caption", "label")),
    "tallyqa": (_tallyqa, ("image", "question", "answer")),
    "tallyqa_hub": (_tallyqa_hub, ("image", "qa")),
    "gqa": (_gqa, ("imageId", "question", "answer")),
    "grit": (_grit, ("question", "answer", "image", "width", "height", "bboxs")),
    **highres.READERS,
}
