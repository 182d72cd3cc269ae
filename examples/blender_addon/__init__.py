"""
An add-on for Blender 4.2 and newer that animates shape keys from a text or from a recording.

Select a mesh whose shape keys have the names of a set of mouth shapes, such as the 52 names of
ARKit. Then use the panel "Lip Sync" in the sidebar of the 3D view. The speech also becomes a sound
strip in the sequence editor.
"""

import os
import tempfile
import threading
import typing

import bpy

from inworld_sync import Inworld
from inworld_sync.games import mouth_of_recording, mouth_timeline
from inworld_sync.games.blender import add_sound, animate_shape_keys


class Preferences(bpy.types.AddonPreferences):
    bl_idname = __package__ or __name__

    api_key: bpy.props.StringProperty(name="API key", subtype="PASSWORD")

    def draw(self, _context):
        self.layout.prop(self, "api_key")
        self.layout.label(text="Without a key, INWORLD_API_KEY of the environment is used.")


def make_client(context):
    addon = context.preferences.addons.get(Preferences.bl_idname)
    return Inworld(api_key=(addon.preferences.api_key if addon else "") or None)


class AnimateMouth(bpy.types.Operator):
    """Animate the shape keys of the active mesh from a text, or from a recording of the text"""

    bl_idname = "inworld.animate_mouth"
    bl_label = "Animate Mouth"
    bl_options: typing.ClassVar = {"REGISTER", "UNDO"}

    text: bpy.props.StringProperty(name="Text", description="What is spoken")
    recording: bpy.props.StringProperty(
        name="Recording",
        subtype="FILE_PATH",
        description="A recording of the text. If this field is empty, the text is synthesized",
    )
    voice: bpy.props.StringProperty(name="Voice", default="Ashley")
    start_frame: bpy.props.IntProperty(name="Start frame", default=1)

    @classmethod
    def poll(cls, context):
        mesh = context.active_object
        return mesh is not None and mesh.type == "MESH" and mesh.data.shape_keys is not None

    def execute(self, context):
        self.begin(context)
        self._thread.join()
        return self.end()

    def invoke(self, context, _event):
        # A thread calls the service, so that Blender does not freeze.
        self.begin(context)
        self._timer = context.window_manager.event_timer_add(0.1, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        if event.type != "TIMER" or self._thread.is_alive():
            return {"PASS_THROUGH"}
        context.window_manager.event_timer_remove(self._timer)
        return self.end()

    def begin(self, context):
        """Read all settings on the main thread, and start the thread."""
        self._mesh_name = context.active_object.name
        recording = bpy.path.abspath(self.recording) if self.recording else ""
        self._result = self._error = None
        # The speech is saved in the folder of the .blend file. A new scene has no such folder yet.
        folder = bpy.path.abspath("//") or tempfile.gettempdir()
        job = (make_client(context), self.text, recording, self.voice, folder)
        self._thread = threading.Thread(target=self.call_service, args=job, daemon=True)
        self._thread.start()

    def call_service(self, client, text, recording, voice, folder):
        try:
            with client:
                if recording:
                    self._result = recording, mouth_of_recording(client, recording, text)
                    return
                speech = client.tts.synthesize(text, voice=voice, viseme_set="OPENXR")
                handle, path = tempfile.mkstemp(".wav", "speech-", folder)
                os.close(handle)
                speech.save(path)
                self._result = path, mouth_timeline(speech)
        except Exception as error:  # noqa: BLE001 - the user sees it
            self._error = str(error)

    def end(self):
        if self._error is not None:
            self.report({"ERROR"}, self._error)
            return {"CANCELLED"}
        path, timeline = self._result
        mesh = bpy.data.objects[self._mesh_name]
        done = animate_shape_keys(mesh, timeline, start_frame=self.start_frame)
        try:
            add_sound(path, start_frame=self.start_frame)
        except OSError as error:
            self.report({"WARNING"}, str(error))
        self.report(
            {"INFO"},
            f"{len(done.animated)} shape keys from {timeline.source}, frames {done.first_frame} to "
            f"{done.last_frame}",
        )
        return {"FINISHED"}


class LipSyncPanel(bpy.types.Panel):
    bl_idname = "VIEW3D_PT_inworld_lip_sync"
    bl_label = "Lip Sync"
    bl_category = "Lip Sync"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw(self, context):
        scene, column = context.scene, self.layout.column()
        names = ("text", "recording", "voice", "start_frame")
        for name in names:
            column.prop(scene, f"inworld_{name}")
        button = column.operator(AnimateMouth.bl_idname)
        for name in names:
            setattr(button, name, getattr(scene, f"inworld_{name}"))


CLASSES = (Preferences, AnimateMouth, LipSyncPanel)
PROPERTIES = {
    "inworld_text": bpy.props.StringProperty(name="Text"),
    "inworld_recording": bpy.props.StringProperty(name="Recording", subtype="FILE_PATH"),
    "inworld_voice": bpy.props.StringProperty(name="Voice", default="Ashley"),
    "inworld_start_frame": bpy.props.IntProperty(name="Start frame", default=1),
}


def register():
    for each in CLASSES:
        bpy.utils.register_class(each)
    for name, prop in PROPERTIES.items():
        setattr(bpy.types.Scene, name, prop)


def unregister():
    for name in PROPERTIES:
        delattr(bpy.types.Scene, name)
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
