"""Settings of `bgnb.attach`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bgnb._util.settings_groups import Choice, SettingsGroup, setting
from bgnb.production.settings import model_lookup_setting, on_error_setting, scheme_setting, select_setting


@dataclass(frozen=True, kw_only=True)
class AttachSettings(SettingsGroup):
    """Settings of `bgnb.attach`."""

    scheme: Any = scheme_setting()
    select: Any = select_setting("all")
    model_lookup: Any = model_lookup_setting()
    kind: str = setting(
        Choice(lambda: ("bkg_3d", "bkg_2d")),
        "bkg_3d",
        help="Kind of the backgrounds: cubes, or their means over the azimuth about the pointing (radial).",
    )
    on_error: Any = on_error_setting()
