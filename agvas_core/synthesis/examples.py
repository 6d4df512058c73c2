"""The example gallery: synthetic images picked by eye, in assets/examples with the question that each shows best.

`python -m agvas_core.synthesis.examples` writes them anew; another version of the generator makes other images.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image

from agvas_core.synthesis.generator import SceneGenerator

SIZE_PX, BATCH, NORMAL_SHARE = 512, 8, 0.25

# (seed, image of its batch, file name, mode, instruction, sentence about normal, caption, caption in Chinese)
PICKED: tuple[tuple[int, int, str, str, str, str, str, str], ...] = (
    (7007, 7, "wire-mesh", "describe_plus", "Please describe the anomalies in this image and segment them.",
     "A normal wire mesh has even wires with regular gaps.", "Wire mesh", "金属丝网"),
    (7005, 4, "hex-nut", "describe", "Please describe the anomalies in this image and segment them.", "",
     "Hex nut", "六角螺母"),
    (7006, 2, "brushed-metal", "auto", "What is wrong with this surface, and where?", "",
     "Brushed metal", "拉丝金属"),
    (7003, 1, "leather", "explain", "Please segment the anomalies in this image and explain.", "",
     "Leather, normal", "皮革（正常）"),
    (7002, 4, "painted-metal", "explain", "Segment only the largest.", "", "Painted metal", "喷漆金属"),
    (7005, 1, "plaster", "direct", "Please segment the anomalies in this image.", "", "Plaster", "灰泥"),
    (7001, 5, "dot-plate", "direct", "Please segment the anomalies in this image.", "",
     "Dot plate, normal", "圆点板（正常）"),
    (7006, 1, "bottle-mouth", "chat", "How many defects are there, and of what kind?", "", "Bottle mouth", "瓶口"),
    (7003, 3, "connector", "explain", "Is this connector good? Segment the anomalies and explain.", "",
     "Connector", "连接器"),
)  # fmt: skip


def write_examples(folder: Path) -> None:
    """Write the picked images and examples.json."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = SceneGenerator(size=SIZE_PX, normal_share=NORMAL_SHARE)
    entries = []
    for seed, number, name, mode, instruction, normal, caption, caption_zh in PICKED:
        pixels = generator.batch(BATCH, seed, "cpu").images[number].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{name}.jpg", quality=92)
        entries.append(
            {
                "file": f"{name}.jpg",
                "mode": mode,
                "instruction": instruction,
                "normal_description": normal,
                "caption": caption,
                "caption_zh": caption_zh,
            }
        )
    (folder / "examples.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_examples(Path(__file__).resolve().parents[2] / "assets" / "examples")
