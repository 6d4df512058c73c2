"""The contact sheet: nothing that synthesis can make is missing on it."""

from __future__ import annotations

import torch
from PIL import Image

from agvas_core.synthesis import sheet
from agvas_core.synthesis.defects import DEFECTS
from agvas_core.synthesis.lighting import NUISANCES
from agvas_core.synthesis.objects import OBJECTS
from agvas_core.synthesis.surfaces import SURFACES


def test_every_surface_object_defect_and_disturbance_is_shown(tmp_path, monkeypatch) -> None:
    plain = torch.full((3, 64, 64), 0.5)  # that each defect can be seen is tested with the generator
    monkeypatch.setattr(sheet, "_defect_tile", lambda kind, size, rng: (kind, plain, plain[0] > 1))
    shown = {}

    def watched(sections):
        shown.update({title: [name for name, _, _ in tiles] for title, tiles in sections})
        return Image.new("RGB", (40, 60))

    monkeypatch.setattr(sheet, "_arrange", watched)
    path = sheet.contact_sheet(tmp_path / "made" / "sheet.png", size=64)
    surfaces, objects, defects, disturbances = shown.values()
    assert surfaces == list(SURFACES)
    assert objects == sorted(OBJECTS)
    assert defects == [kind for kind in DEFECTS for _ in range(2)]
    assert disturbances == sorted(NUISANCES)
    with Image.open(path) as picture:
        assert picture.size == (40, 60)
