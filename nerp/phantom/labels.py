"""The phantom's label values, their names, and the groups that masks are made of."""

from __future__ import annotations

_SOFT = (
    "skin",
    "fat",
    "muscle",
    "mediastinum",
    "abdomen",
    "lung_right",
    "lung_left",
    "pulmonary_arteries",
    "pulmonary_veins",
    "bronchi",
    "trachea",
    "heart",
    "aorta",
    "vena_cava",
    "oesophagus",
    "diaphragm",
    "liver",
    "stomach",
    "stomach_gas",
    "colon_gas",
    "spleen",
    "breast",
    "spinal_canal",
    "pulmonary_trunk",
)
_BONES = (
    "vertebrae",
    "discs",
    "sternum",
    "costal_cartilage",
    "clavicle_right",
    "clavicle_left",
    "scapula_right",
    "scapula_left",
    "humerus_right",
    "humerus_left",
)
_RIBS = tuple(f"rib_{side}_{index}" for side in ("right", "left") for index in range(1, 13))

FINDINGS = ("effusion", "nodule", "consolidation", "pneumothorax", "large_heart")
"""What a phantom can be asked to show; the first four have a label of the same name."""

LABELS: dict[int, str] = {
    **dict(enumerate(_SOFT, start=1)),
    **dict(enumerate(_BONES, start=31)),
    **dict(enumerate(_RIBS, start=51)),
    **dict(enumerate(FINDINGS[:4], start=81)),
}
"""Label value -> name; 0 is the air outside the body. `large_heart` only enlarges `heart`."""

LABEL_OF: dict[str, int] = {name: value for value, name in LABELS.items()}
"""Name -> label value."""

LUNG_LABELS: tuple[int, ...] = tuple(
    LABEL_OF[name]
    for name in (
        "lung_right",
        "lung_left",
        "pulmonary_arteries",
        "pulmonary_veins",
        "bronchi",
        "nodule",
        "consolidation",
        "pneumothorax",
    )
)
"""What belongs to the lung field: parenchyma, its vessels, airways and lesions, free air within the pleura."""

OBSCURING_LABELS: tuple[int, ...] = tuple(
    LABEL_OF[name]
    for name in (
        "heart",
        "aorta",
        "vena_cava",
        "pulmonary_trunk",
        "oesophagus",
        "mediastinum",
        "abdomen",
        "diaphragm",
        "liver",
        "stomach",
        "stomach_gas",
        "colon_gas",
        "spleen",
        "effusion",
    )
)
"""What hides the lung that lies before or behind it from a reader of the radiograph."""
