"""
Tests the animation of shape keys in Blender, and the add-on of the examples.

    python3.11 -m venv blender && blender/bin/pip install bpy==5.0.1 '.[games]'
    blender/bin/python -m tests.games.blender

The command fails if the package bpy is missing. Run the command with the versions 4.2, 4.5 and 5.0
of bpy. In version 4.2, actions have no slots.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

import bpy  # noqa: E402

from inworld_sync import ConfigError, Speech  # noqa: E402
from inworld_sync.emulator import Emulator  # noqa: E402
from inworld_sync.games import SHAPE_SETS, mouth_timeline  # noqa: E402
from inworld_sync.games.blender import (  # noqa: E402
    add_sound,
    animate_shape_keys,
    matching_set,
)
from inworld_sync.models.tts import AudioEncoding, Viseme  # noqa: E402

from support.scripted_recognizer import ScriptedRecognizer, engine_for  # noqa: E402
from support.spelling import SpellingSynthesizer  # noqa: E402

FPS = 24
TEXT = "Papa, aim at the moon. "


def make_mesh(names: list[str]) -> Any:
    """Return a mesh with shape keys of these names, in an empty file."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = FPS
    bpy.ops.mesh.primitive_cube_add()
    mesh = bpy.context.active_object
    mesh.shape_key_add(name="Basis")
    for name in names:
        mesh.shape_key_add(name=name)
    return mesh


def speech(milliseconds: int = 1000) -> Speech:
    """Return a speech with visemes of a mouth that opens, closes, and opens again."""
    loud = b"\x00\x40\x00\xc0" * (milliseconds * 12)
    visemes = (
        Viseme("aa", 0.0, 300.0),
        Viseme("PP", 300.0, 420.0),
        Viseme("ou", 420.0, 900.0, 0.8),
    )
    return Speech(loud, AudioEncoding.PCM, 24000, visemes=visemes)


def value_at(mesh: Any, name: str, frame: int) -> float:
    bpy.context.scene.frame_set(frame)
    value: float = mesh.data.shape_keys.key_blocks[name].value
    return value


def has_slots(mesh: Any) -> bool:
    return hasattr(mesh.data.shape_keys.animation_data.action, "slots")


def curves_of(mesh: Any) -> dict[str, int]:
    """For each curve of the shape keys, return the number of key frames."""
    data = mesh.data.shape_keys.animation_data
    action = data.action
    curves = (
        action.layers[0].strips[0].channelbag(data.action_slot).fcurves
        if has_slots(mesh)
        else action.fcurves
    )
    return {curve.data_path: len(curve.keyframe_points) for curve in curves}


def test_weights() -> None:
    """At each frame, each shape key has the weight of the timeline."""
    mesh = make_mesh(list(SHAPE_SETS["openxr"]))
    timeline = mouth_timeline(speech())
    done = animate_shape_keys(mesh, timeline, start_frame=10)

    assert done.shapes == "openxr"
    assert done.missing == ()
    assert (done.first_frame, done.last_frame) == (10, 10 + FPS + 1), done
    for frame in range(FPS + 1):
        expected = timeline.weights_at(frame * 1000.0 / FPS)
        for name in ("aa", "PP", "ou", "E"):
            found = value_at(mesh, name, 10 + frame)
            assert abs(found - expected[name]) < 0.01, (name, frame, found, expected[name])
    assert max(value_at(mesh, "PP", 10 + frame) for frame in range(FPS)) > 0.8
    assert value_at(mesh, "aa", done.last_frame) == 0.0


def test_some_shapes_of_arkit() -> None:
    """A mesh may have only some shapes of a set. The names of the missing shapes are reported."""
    mesh = make_mesh(["jawOpen", "mouthPucker", "eyeBlinkLeft"])
    done = animate_shape_keys(mesh, mouth_timeline(speech()))

    assert done.shapes == "arkit"
    assert set(done.animated) == {"jawOpen", "mouthPucker"}
    assert "mouthFunnel" in done.missing
    assert value_at(mesh, "jawOpen", 4) > 0.3


def test_other_names() -> None:
    """The caller can give the names of the shape keys. A name may have quotes."""
    odd = 'the "A" key'
    mesh = make_mesh([odd])
    animate_shape_keys(mesh, mouth_timeline(speech()), shapes="openxr", names={"aa": odd})

    assert value_at(mesh, odd, 4) > 0.5


def test_other_animation_stays() -> None:
    """Key frames outside of the speech are kept. Key frames of other shape keys are kept too."""
    mesh = make_mesh(["aa", "PP", "ou", "blink"])
    block = mesh.data.shape_keys.key_blocks
    for frame, value in ((1, 0.0), (500, 1.0)):
        for name in ("blink", "aa"):
            block[name].value = value
            block[name].keyframe_insert("value", frame=frame)
    timeline = mouth_timeline(speech())
    animate_shape_keys(mesh, timeline, start_frame=100)
    first = curves_of(mesh)
    animate_shape_keys(mesh, timeline, start_frame=100)

    assert curves_of(mesh) == first
    assert first['key_blocks["blink"].value'] == 2
    assert value_at(mesh, "blink", 500) == 1.0
    assert value_at(mesh, "aa", 500) == 1.0
    assert value_at(mesh, "aa", 104) > 0.5


def test_a_saved_file() -> None:
    """The animation is still there when the file is opened again."""
    mesh = make_mesh(["aa", "PP"])
    animate_shape_keys(mesh, mouth_timeline(speech()))
    name, before = mesh.name, [value_at(mesh, "aa", frame) for frame in range(1, 26)]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "mouth.blend"))
        bpy.ops.wm.save_as_mainfile(filepath=path)
        bpy.ops.wm.open_mainfile(filepath=path)
    mesh = bpy.data.objects[name]

    assert [value_at(mesh, "aa", frame) for frame in range(1, 26)] == before


def test_errors() -> None:
    """The error for a wrong mesh or argument says what is wrong."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.active_object
    timeline = mouth_timeline(speech())
    raises("shape keys", lambda: animate_shape_keys(cube, timeline))
    raises("shape keys", lambda: animate_shape_keys(None, timeline))
    mesh = make_mesh(["smile"])
    raises("smile", lambda: animate_shape_keys(mesh, timeline))
    raises("shapes must be", lambda: animate_shape_keys(mesh, timeline, shapes="x"))
    raises(
        "nose", lambda: animate_shape_keys(mesh, timeline, shapes="vrm", names={"nose": "smile"})
    )
    raises("start_frame", lambda: animate_shape_keys(mesh, timeline, start_frame=1.5))
    assert matching_set(["Basis", "viseme_PP"]) == "oculus"


def has_sound() -> bool:
    """Return whether this build of Blender supports sound. bpy 4.2 does not support sound."""
    return bool(bpy.app.build_options.audaspace)


def raises(words: str, call: Callable[[], object], kind: type[Exception] = ConfigError) -> None:
    message = None
    try:
        call()
    except kind as error:
        message = str(error)
    assert message is not None, f"expected an error with {words!r}"
    assert words in message, message


def test_sound() -> None:
    """The speech becomes a sound strip that begins at the given frame."""
    make_mesh([])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "line.wav")
        speech().save(path)
        if not has_sound():
            raises("Audaspace", lambda: add_sound(path), OSError)
            return
        add_sound(path, start_frame=25)
    [strip] = all_strips()

    assert (strip.type, int(strip.frame_start)) == ("SOUND", 25)


def test_addon() -> None:
    """The operator of the add-on animates the active mesh from a text, and from a recording."""
    location = ROOT / "examples" / "blender_addon" / "__init__.py"
    spec = importlib.util.spec_from_file_location("inworld_lip_sync", location)
    assert spec is not None
    assert spec.loader is not None
    addon = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = addon
    spec.loader.exec_module(addon)
    addon.register()
    try:
        # The recognizer recognizes nothing, so the mouth follows the loudness of a recording.
        recognizer = engine_for(ScriptedRecognizer())
        synthesizer = SpellingSynthesizer(1200, has_phonemes=True)
        with (
            tempfile.TemporaryDirectory() as temporary,
            Emulator(synthesizer=synthesizer, speech_engine=recognizer) as server,
        ):
            tempfile.tempdir = temporary
            os.environ["INWORLD_API_KEY"] = server.api_key
            os.environ["INWORLD_BASE_URL"] = server.url
            mesh = make_mesh(["jawOpen", "mouthPucker", "mouthClose"])
            assert bpy.ops.inworld.animate_mouth(text=TEXT, start_frame=5) == {"FINISHED"}
            opened = [value_at(mesh, "jawOpen", frame) for frame in range(5, 25)]
            assert max(opened) > 0.1, opened
            assert [strip.type for strip in all_strips()] == ["SOUND"] * has_sound()
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "take.wav")
                loud = Speech(b"\x28\x23" * 24000, AudioEncoding.PCM, 24000)
                loud.save(path)
                mesh = make_mesh(["jawOpen"])
                result = bpy.ops.inworld.animate_mouth(text=TEXT, recording=str(path))
            assert result == {"FINISHED"}
            assert max(value_at(mesh, "jawOpen", frame) for frame in range(1, 25)) > 0.1
            raised = ""
            try:
                bpy.ops.inworld.animate_mouth(text=" ")
            except RuntimeError as error:
                raised = str(error)
            assert "blank" in raised or "text" in raised, raised
    finally:
        tempfile.tempdir = None
        addon.unregister()


def all_strips() -> list[Any]:
    editor = bpy.context.scene.sequence_editor
    return list(editor.strips if hasattr(editor, "strips") else editor.sequences)


def main() -> None:
    """Run all tests."""
    tests = [each for name, each in globals().items() if name.startswith("test_")]
    for test in tests:
        test()
        sys.stdout.write(f"passed: {test.__doc__}\n")
    sys.stdout.write(f"Blender {bpy.app.version_string}: {len(tests)} tests passed\n")


if __name__ == "__main__":
    main()
