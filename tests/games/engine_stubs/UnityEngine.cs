// The classes of Unity that the example in docs/engines.md uses, to compile the example.
using System;
namespace UnityEngine {
    public class MonoBehaviour { public T GetComponent<T>() => default(T); }
    public class AudioSource { public AudioClip clip; public int timeSamples; public bool isPlaying;
        public void Play() { } public void Pause() { } public void Stop() { } }
    public class AudioClip {
        public static AudioClip Create(string name, int lengthSamples, int channels, int frequency, bool stream) => null;
        public bool SetData(float[] data, int offsetSamples) => true; }
    public static class JsonUtility { public static T FromJson<T>(string json) => default(T);
        public static string ToJson(object value) => ""; }
    public static class Debug { public static void LogError(object message) { } }
    [AttributeUsage(AttributeTargets.Class)]
    public class RequireComponent : Attribute { public RequireComponent(Type type) { } }
}
