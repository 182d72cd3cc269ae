"""
Writes mouth shapes to the shape keys of a mesh in Blender, with Blender's module ``bpy``.

From Blender 4.4 on, the curves of an action belong to slots, layers and strips. In older versions,
the curves belong to the action itself; Blender 5.0 has removed this older interface. This module
uses the interface that the running Blender has.

Only the main thread of Blender may call these functions, because Blender requires this for ``bpy``.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from inworld_sync.errors import ConfigError
from inworld_sync.games.shapes import SHAPE_SETS, require_set
from inworld_sync.games.timeline import MouthTimeline
from inworld_sync.models.checks import require_whole

__all__ = ["ShapeAnimation", "add_sound", "animate_shape_keys", "matching_set"]

_ACTION_NAME = "Speech"
_LINEAR = "LINEAR"


@attrs.frozen
class ShapeAnimation:
    """
    Describes the key frames that :func:`animate_shape_keys` has written.

    Attributes:
        action: The name of the action.
        shapes: The name of the set of mouth shapes.
        animated: The names of the shape keys that have key frames now.
        missing: The names of the shape keys that were wanted, but that the mesh does not have.
        key_frames: How many key frames were written.
        first_frame: The frame at which the speech begins.
        last_frame: The frame of the last key frame, at which the mouth is at rest.
    """

    action: str
    shapes: str
    animated: tuple[str, ...]
    missing: tuple[str, ...]
    key_frames: int
    first_frame: int
    last_frame: int


def matching_set(names: Sequence[str]) -> str:
    """
    Return the name of the set of mouth shapes that has the most names in common with *names*.

    Raises:
        ConfigError: No set has any of the names.
    """
    found = {shapes: len(set(known) & set(names)) for shapes, known in SHAPE_SETS.items()}
    best = max(found, key=lambda shapes: found[shapes])
    if not found[best]:
        raise ConfigError(
            f"no shape key has the name of a mouth shape, got {', '.join(names) or 'none'}: pass "
            f"names=..., or rename the shape keys to the names of a set: {', '.join(SHAPE_SETS)}"
        )
    return best


def animate_shape_keys(
    mesh: object,
    timeline: MouthTimeline,
    *,
    start_frame: int = 1,
    shapes: str | None = None,
    names: Mapping[str, str] | None = None,
) -> ShapeAnimation:
    """
    Write key frames for the mouth shapes of a speech.

    The key frames have linear interpolation, and follow the frame rate of the scene. They replace
    earlier key frames of the same shape keys in the same range of frames. All other key frames of
    the action stay. If the speech ends after the last frame of the scene, the scene is extended.

    Args:
        mesh: A Blender object that is a mesh with shape keys.
        timeline: The mouth shapes, from ``mouth_timeline(speech)`` or ``mouth_of_recording(...)``.
        start_frame: The frame at which the speech begins.
        shapes: The name of a set in ``SHAPE_SETS``. None chooses the set that has the most names in
            common with the shape keys, or with the keys of *names*.
        names: The name of the shape key for each shape, if the shape keys have other names than the
            shapes. Shapes that are not in *names* are not animated.

    Returns:
        A description of the key frames that were written.

    Raises:
        ConfigError: The object has no shape keys for mouth shapes, or an argument is wrong.
        ModuleNotFoundError: The program does not run in Blender.
    """
    require_whole("start_frame", start_frame, -1_000_000, 1_000_000)
    bpy = _bpy()
    keys = _shape_keys(mesh)
    present = [block.name for block in keys.key_blocks]
    shapes = _chosen_set(shapes, present, names)
    wanted = {name: name for name in SHAPE_SETS[shapes]} if names is None else dict(names)
    animated = {shape: key for shape, key in wanted.items() if key in present}
    if not animated:
        raise ConfigError(
            f"the mesh has none of the shape keys {', '.join(wanted.values())}; it has "
            f"{', '.join(present)}"
        )
    scene = bpy.context.scene
    fps = scene.render.fps / scene.render.fps_base
    frames = timeline.keyframes(fps, shapes)
    curves = _curves(bpy, keys)
    count = 0
    for shape, key in animated.items():
        points = [(start_frame + frame, value) for frame, value in frames[shape]]
        block = keys.key_blocks[key]
        block.slider_min, block.slider_max = min(block.slider_min, 0.0), max(block.slider_max, 1.0)
        _write_curve(curves, f'key_blocks["{bpy.utils.escape_identifier(key)}"].value', points)
        count += len(points)
    last = max(frame for shape in animated for frame, _ in frames[shape])
    scene.frame_end = max(scene.frame_end, start_frame + last)
    return ShapeAnimation(
        action=keys.animation_data.action.name,
        shapes=shapes,
        animated=tuple(animated.values()),
        missing=tuple(key for key in wanted.values() if key not in present),
        key_frames=count,
        first_frame=start_frame,
        last_frame=start_frame + last,
    )


def add_sound(path: str | os.PathLike[str], *, start_frame: int = 1, channel: int = 1) -> str:
    """
    Add a sound file to the sequence editor of the scene, and return the name of its strip.

    Args:
        path: The sound file.
        start_frame: The frame at which the sound begins.
        channel: The channel of the sequence editor, 1 to 128.

    Raises:
        ConfigError: An argument is out of its range.
        OSError: The file cannot be read.
        ModuleNotFoundError: The program does not run in Blender.
    """
    require_whole("start_frame", start_frame, -1_000_000, 1_000_000)
    require_whole("channel", channel, 1, 128)
    bpy = _bpy()
    scene = bpy.context.scene
    editor = scene.sequence_editor or scene.sequence_editor_create()
    # Blender 5.0 has removed the older name ``sequences``.
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    name = os.path.basename(os.fspath(path))  # noqa: PTH119 - any kind of path
    try:
        strip = strips.new_sound(name, os.fspath(path), channel, start_frame)
    except RuntimeError as error:
        raise OSError(f"Blender cannot read {name}: {error}") from error
    found: str = strip.name
    return found


def _bpy() -> Any:
    try:
        return importlib.import_module("bpy")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "inworld_sync.games.blender works only in Blender, or with the package bpy: "
            "pip install bpy",
            name=error.name,
        ) from error


def _shape_keys(mesh: Any) -> Any:
    keys = getattr(getattr(mesh, "data", None), "shape_keys", None)
    if keys is None:
        name = getattr(mesh, "name", None) or type(mesh).__name__
        raise ConfigError(f"mesh must be a mesh with shape keys, got {name}, which has none")
    return keys


def _chosen_set(shapes: str | None, present: Sequence[str], names: Mapping[str, str] | None) -> str:
    if shapes is None:
        shapes = matching_set(present if names is None else list(names))
    require_set(shapes)
    unknown = [shape for shape in names or () if shape not in SHAPE_SETS[shapes]]
    if unknown:
        raise ConfigError(
            f"names has {', '.join(unknown)}, which the set {shapes} does not have: use "
            f"{', '.join(SHAPE_SETS[shapes])}"
        )
    return shapes


def _curves(bpy: Any, keys: Any) -> Any:
    """Return the curves of the shape keys' action. Make the action if it does not exist."""
    data = keys.animation_data or keys.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(_ACTION_NAME)
    action = data.action
    if not hasattr(action, "slots"):
        return action.fcurves
    if data.action_slot is None:
        slot = next((slot for slot in action.slots if slot.target_id_type == "KEY"), None)
        data.action_slot = slot or action.slots.new(id_type="KEY", name=keys.name)
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return strip.channelbag(data.action_slot, ensure=True).fcurves


def _write_curve(curves: Any, path: str, points: Sequence[tuple[int, float]]) -> None:
    """Replace all key frames of a curve between the first and the last frame of *points*."""
    curve = curves.find(path) or curves.new(path)
    first, last = points[0][0], points[-1][0]
    kept = [
        (point.co.x, point.co.y, point.interpolation)
        for point in curve.keyframe_points
        if not first <= point.co.x <= last
    ]
    written = sorted([*kept, *((frame, value, _LINEAR) for frame, value in points)])
    curve.keyframe_points.clear()
    curve.keyframe_points.add(len(written))
    for point, (frame, value, interpolation) in zip(curve.keyframe_points, written, strict=True):
        point.co = (frame, value)
        point.interpolation = interpolation
    curve.update()
