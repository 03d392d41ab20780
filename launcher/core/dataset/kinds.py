"""The kinds of labels and of datasets by their names and numbers, and which of them the service can split."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_CLASSIFICATION = "image_classification"
OBJECT_DETECTION = "object_detection"
IMAGE_SEGMENTATION = "image_segmentation"
TEXT_CLASSIFICATION = "text_classification"
TEXT_ENTITY = "text_entity"
TEXT_TRIPLET = "text_triplet"
AUDIO_CLASSIFICATION = "audio_classification"
AUDIO_CONTENT = "audio_content"
AUDIO_SEGMENTATION = "audio_segmentation"
TABLE = "table"
VIDEO = "video"
FREE = "free_format"

NUMBERS: Mapping[int, str] = {
    0: IMAGE_CLASSIFICATION,
    1: OBJECT_DETECTION,
    3: IMAGE_SEGMENTATION,
    100: TEXT_CLASSIFICATION,
    101: TEXT_ENTITY,
    102: TEXT_TRIPLET,
    200: AUDIO_CLASSIFICATION,
    201: AUDIO_CONTENT,
    202: AUDIO_SEGMENTATION,
    400: TABLE,
    600: VIDEO,
    900: FREE,
}
"""`dataset_type` as the service numbers it (creating a dataset)."""

MEDIA: Mapping[str, str] = {
    IMAGE_CLASSIFICATION: "image",
    OBJECT_DETECTION: "image",
    IMAGE_SEGMENTATION: "image",
    TEXT_CLASSIFICATION: "text",
    TEXT_ENTITY: "text",
    TEXT_TRIPLET: "text",
    AUDIO_CLASSIFICATION: "audio",
    AUDIO_CONTENT: "audio",
    AUDIO_SEGMENTATION: "audio",
    TABLE: "table",
    VIDEO: "video",
}
"""What the samples of a kind are."""

SAMPLE_TYPES: Mapping[str, str] = {"0": "image", "1": "text", "2": "audio", "4": "table", "6": "video", "9": "free"}
"""`sample-type` as the service numbers it."""

SPLIT = (IMAGE_CLASSIFICATION, OBJECT_DETECTION, TEXT_CLASSIFICATION, AUDIO_CLASSIFICATION)
"""The kinds that the service splits into a training and an evaluation part."""

LABELS = tuple(kind for kind in MEDIA if kind not in (TABLE, VIDEO))
"""The kinds that an annotation may be of; a video's frames are labelled as images."""

_ALIASES = {"sound_classification": AUDIO_CLASSIFICATION}
_KNOWN = {f"{owner}{name}": name for owner in ("", "modelarts/") for name in LABELS} | {
    f"{owner}{alias}": name for owner in ("", "modelarts/") for alias, name in _ALIASES.items()
}


def label_kind(type_: str) -> str | None:
    """The kind of an annotation's type; empty for a type of somebody else's own, None for one that does not exist."""
    kind = _KNOWN.get(type_)
    if kind is not None:
        return kind
    owner, mark, name = type_.rpartition("/")
    if not mark or owner == "modelarts":
        return None
    return _KNOWN.get(name, "")
