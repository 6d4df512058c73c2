"""The contact sheet: nothing that synthesis can make is missing on it."""

from __future__ import annotations

from PIL import Image

from agvas_core.synthesis import sheet
from agvas_core.synthesis.defects import DEFECTS
from agvas_core.synthesis.lighting import NUISANCES
from agvas_core.synthesis.objects import OBJECTS
from agvas_core.synthesis.surfaces import SURFACES


def test_every_surface_object_defect_and_disturbance_is_shown(tmp_path, monkeypatch) -> None:
    shown = {}
    arrange = sheet._arrange

    def watched(sections):
        shown.update({title: [name for name, _, _ in tiles] for title, tiles in sections})
        return arrange(sections)

    monkeypatch.setattr(sheet, "_arrange", watched)
    path = sheet.contact_sheet(tmp_path / "made" / "sheet.png", size=64)
    surfaces, objects, defects, disturbances = shown.values()
    assert surfaces == list(SURFACES)
    assert objects == sorted(OBJECTS)
    assert defects == [kind for kind in DEFECTS for _ in range(2)]
    assert disturbances == sorted(NUISANCES)
    with Image.open(path) as picture:
        assert picture.width > 1000 and picture.height > picture.width
